"""Images as tokens: cut, placed, read once, and compared with texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from everlearn.errors import ConversationError, SettingsError
from everlearn.models.apertis import ApertisForCausalLM, ApertisImageProcessor, ApertisProcessor
from everlearn.models.apertis.capsules import CapsulePooling, naive_capsules
from everlearn.models.apertis.contrast import ApertisForContrast, contrastive_loss
from everlearn.models.apertis.vision import naive_patches, patch_places
from toys import byte_tokenizer

from .conftest import config_of

SIDE = 4
CHAT = (
    "{% for m in messages %}{% for part in m['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}<end>{% endfor %}"
)


def _processor(**more) -> ApertisProcessor:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.pad_token = "<end>"
    images = ApertisImageProcessor(**{"patch_size": SIDE, "max_patches": 12} | more)
    return ApertisProcessor(images, tokenizer, chat_template=CHAT)


def _fields(processor: ApertisProcessor) -> dict:
    return {
        "vocab_size": len(processor.tokenizer),
        "vision_patch_size": SIDE,
        "image_token_id": processor.image_token_id,
    }


def _model(processor: ApertisProcessor, **more) -> ApertisForCausalLM:
    torch.manual_seed(0)
    return ApertisForCausalLM(config_of("hybrid", **_fields(processor), **more)).eval()


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_is_cut_row_by_row():
    made = ApertisImageProcessor(SIDE)(_picture(8, 12))
    assert made["image_sizes"].tolist() == [[2, 3]]
    whole = torch.from_numpy(_picture(8, 12)).permute(2, 0, 1).float() / 127.5 - 1
    torch.testing.assert_close(made["pixel_values"], naive_patches(whole, SIDE))
    assert patch_places(made["image_sizes"]).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (300, 20), (7, 500), (1, 1), (97, 203), (64, 64)])
def test_any_aspect_ratio_fits(height, width):
    processor = ApertisImageProcessor(SIDE, max_patches=12)
    rows, columns = processor(Image.fromarray(_picture(height, width)))["image_sizes"][0].tolist()
    assert 1 <= rows * columns <= 12
    assert (rows >= columns) == (height >= width)


def test_grey_pictures_and_fractions_are_read():
    one = ApertisImageProcessor(2, channels=1)(np.full((4, 4), 255, dtype=np.uint8))["pixel_values"]
    assert one.shape == (4, 4) and bool((one == 1).all())
    assert torch.equal(ApertisImageProcessor(2, channels=1)(np.ones((4, 4)))["pixel_values"], one)


def test_images_stand_where_the_text_says():
    processor = _processor()
    made = processor(images=[_picture(8, 8), _picture(4, 8)], text=["a <image> b <image>", "none"])
    ids = made["input_ids"]
    assert (ids == processor.image_token_id).sum(1).tolist() == [4 + 2, 0]
    assert made["attention_mask"][1].tolist()[-4:] == [1] * 4 and made["attention_mask"][1, 0] == 0
    assert made["pixel_values"].shape == (6, 3 * SIDE * SIDE)


@torch.no_grad()
def test_what_an_image_shows_and_where_matters():
    processor = _processor()
    model = _model(processor)
    picture = _picture(8, 8)
    said = [
        model(**processor(images=shown, text="What? <image> A:")).logits[0, -1]
        for shown in (picture, picture[::-1].copy(), 255 - picture)
    ]
    assert not torch.allclose(said[0], said[1], atol=1e-3)
    assert not torch.allclose(said[0], said[2], atol=1e-3)


@torch.no_grad()
def test_generation_reads_an_image_once():
    processor = _processor()
    model = _model(processor)
    made = processor(images=_picture(8, 12), text="<image>?")
    answer = model.generate(**made, max_new_tokens=6, do_sample=False)
    ids, images = made["input_ids"], {name: made[name] for name in ("pixel_values", "image_sizes")}
    for _ in range(6):
        ids = torch.cat([ids, model(ids, **images, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert answer.tolist() == ids.tolist()


def test_images_come_through_chat_messages():
    processor = _processor()
    content = [{"type": "image", "image": Image.fromarray(_picture(8, 8))}, {"type": "text", "text": "What is it?"}]
    made = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert (made["input_ids"] == processor.image_token_id).sum() == 4
    assert made["pixel_values"].shape[0] == 4


def test_the_processor_is_saved_and_found_again(tmp_path):
    processor = _processor()
    _model(processor).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is ApertisProcessor
    wanted, got = (p(images=_picture(9, 20), text="x <image>") for p in (processor, loaded))
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)


def test_mistakes_are_named():
    processor = _processor()
    with pytest.raises(ConversationError, match="1 places for images, 2 images"):
        processor(images=[_picture(4, 4)] * 2, text="<image>")
    with pytest.raises(ConversationError, match="shape"):
        processor(images="file.png", text="<image>")
    model = _model(processor)
    made = processor(images=_picture(8, 8), text="<image>")
    with pytest.raises(ConversationError, match="4 places"):
        model(made["input_ids"], pixel_values=made["pixel_values"][:2], image_sizes=torch.tensor([[1, 2]]))
    with pytest.raises(ConversationError, match="2 patches came with sizes of 4"):
        model(made["input_ids"], pixel_values=made["pixel_values"][:2], image_sizes=made["image_sizes"])
    with pytest.raises(SettingsError, match="image_token_id"):
        config_of("full", vision_patch_size=4)
    with pytest.raises(SettingsError, match="no token"):
        ApertisProcessor(ApertisImageProcessor(), byte_tokenizer())
    with pytest.raises(SettingsError, match="channels 4"):
        ApertisImageProcessor(channels=4)


@pytest.mark.parametrize("pooling", ["last", "capsules"])
def test_the_joint_space_learns_pairs(tmp_path, pooling):
    processor = _processor()
    torch.manual_seed(0)
    model = ApertisForContrast(config_of("full", **_fields(processor), initializer_range=0.05, pooling=pooling))
    pictures = [_picture(8, 8, seed) for seed in range(4)]
    images = processor(images=pictures)
    texts = processor(text=["red", "green", "a blue one", "yellow"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        model(images, texts).loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        made = model(images, texts)
        torch.testing.assert_close(made.first.norm(dim=1), torch.ones(4))
        assert (made.first @ made.second.T).argmax(1).tolist() == [0, 1, 2, 3]
        model.save_pretrained(tmp_path)
        loaded = ApertisForContrast.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(loaded.embed(images), made.first, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_capsules_are_what_the_votes_agree_on():
    torch.manual_seed(0)
    pooling = CapsulePooling(config_of("full"), capsules=4)
    pooling.votes.weight.normal_()
    hidden = torch.randn(2, 7, 32)
    mask = torch.ones(2, 7)
    mask[1, :3] = 0
    made = pooling(hidden, mask)
    torch.testing.assert_close(made[0], naive_capsules(pooling, hidden[0]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made[1], naive_capsules(pooling, hidden[1, 3:]), atol=1e-5, rtol=1e-4)
    assert bool((made.view(2, 4, 8).norm(dim=-1) < 1).all())


def test_the_loss_of_pairs_is_symmetric():
    one, two = torch.eye(3), torch.eye(3)[[0, 1, 2]]
    right = contrastive_loss(one, two, torch.tensor(3.0))
    wrong = contrastive_loss(one, two[[1, 2, 0]], torch.tensor(3.0))
    assert right < 0.1 < wrong
    torch.testing.assert_close(contrastive_loss(two, one, torch.tensor(3.0)), right)
