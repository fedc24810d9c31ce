"""Signed receipts of forgetting: whoever has the public key can verify what was removed, without seeing it.

A receipt names removed lessons by their id and by the digest that the hash chain has of them: sha256 over 16 random
bytes and all fields. The random bytes lay in the lesson's row and went with it, so that nobody, not even who removed
it, can compare the digest with a guess of the text; it ties the receipt to the event of its teaching and no more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from everlearn.errors import FileFormatError, StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORM = "everlearn forget receipt 1"
KEYS = "keys"
PRIVATE = "receipts.pem"


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of verifying a receipt.

    Attributes:
        valid: whether it is what was signed, by the key that was asked for.
        reason: why not; empty where it is valid.
        public_key: the key that it says it was signed with, in hex.
        body: what it says.
    """

    valid: bool
    reason: str
    public_key: str
    body: Mapping[str, Any]


def public_key(folder: Path) -> str:
    """The public key [32 bytes, hex] of a state folder; the pair is made on first use, readable by its owner only.

    Raises:
        StoreError: the key cannot be read or written.
    """
    return _private_key(folder).public_key().public_bytes_raw().hex()


def sign(folder: Path, body: Mapping[str, Any]) -> dict[str, Any]:
    """A receipt: what it says, the public key, and the ed25519 signature over the canonical JSON of what it says."""
    key = _private_key(folder)
    signature = key.sign(_signed_bytes(body)).hex()
    return {"body": dict(body), "public_key": key.public_key().public_bytes_raw().hex(), "signature": signature}


def verify(receipt: Mapping[str, Any], wanted: str | None = None) -> Verified:
    """Verify a receipt.

    Args:
        receipt: as `sign` made it, or as JSON gives it back.
        wanted: public key [hex] of who has to have signed it; without it a receipt only vouches for itself.

    Raises:
        FileFormatError: it is no receipt.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        body, key, signature = dict(receipt["body"]), str(receipt["public_key"]), bytes.fromhex(receipt["signature"])
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    except (KeyError, TypeError, ValueError) as cause:
        raise FileFormatError(f"This is no receipt of forgetting: {cause}.", hint="Is it the right file?") from cause
    if wanted is not None and wanted.lower() != key.lower():
        return Verified(False, "it was signed with another key than the one wanted.", key, body)
    try:
        public.verify(signature, _signed_bytes(body))
    except InvalidSignature:
        return Verified(False, "it was changed since it was signed, or the signature is another one's.", key, body)
    return Verified(True, "", key, body)


def read(path: Path) -> dict[str, Any]:
    """A receipt from its file.

    Raises:
        FileFormatError: the file cannot be read, or is none.
    """
    try:
        receipt = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as cause:
        raise FileFormatError(f"{path} cannot be read: {cause}.", hint="Is it the right file?") from cause
    if not isinstance(receipt, dict):
        raise FileFormatError(f"{path} is no receipt of forgetting.", hint="Is it the right file?")
    return receipt


def _signed_bytes(body: Mapping[str, Any]) -> bytes:
    return f"{FORM}\n{json.dumps(body, sort_keys=True, separators=(',', ':'), ensure_ascii=True)}".encode()


def _private_key(folder: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = folder / KEYS / PRIVATE
    try:
        if not path.exists():
            _make_key(path)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as cause:
        raise StoreError(f"The key {path} cannot be used: {cause}.", hint="Check its rights, or restore it.") from cause
    if not isinstance(key, Ed25519PrivateKey):
        raise StoreError(f"The key {path} is no ed25519 key.", hint="Move it away: a new one is made.")
    return key


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(part)  # fails where another process was first: its key counts
    except FileExistsError:
        return
    finally:
        part.unlink()
