"""The output head gets rows in order, whatever view transformers cuts out, and says the same."""

import torch

from everlearn.models.output_head import read_in_order
from toys import tiny_module


def strides_seen(module):
    seen = []
    module.get_output_embeddings().register_forward_pre_hook(lambda _head, given: seen.append(given[0].stride()))
    return seen


def test_a_cut_view_reaches_the_head_as_a_fresh_tensor_and_the_logits_stay():
    plain, ordered = tiny_module(), tiny_module()
    read_in_order(ordered)
    before, seen = strides_seen(plain), strides_seen(ordered)
    ids = torch.arange(24).view(2, 12)
    with torch.inference_mode():
        for rows, keep in ((ids, 3), (ids[:1], 1)):
            wanted = plain(input_ids=rows, logits_to_keep=keep).logits
            torch.testing.assert_close(ordered(input_ids=rows, logits_to_keep=keep).logits, wanted)
    width = plain.config.hidden_size
    assert before == [(12 * width, width, 1), (12 * width, width, 1)], "else there is nothing to mend any more"
    assert seen == [(3 * width, width, 1), (width, width, 1)]


def test_gradients_go_through_as_before():
    grads = []
    for mend in (False, True):
        module = tiny_module()
        if mend:
            read_in_order(module)
        module(input_ids=torch.arange(24).view(2, 12), logits_to_keep=3).logits.square().sum().backward()
        grads.append([p.grad for p in module.parameters()])
    for plain, mended in zip(*grads, strict=True):
        torch.testing.assert_close(mended, plain)


def test_a_copy_of_a_model_does_it_once(parts):
    twin = parts.model.twin()
    hooks = twin.module.get_output_embeddings()._forward_pre_hooks
    assert len(hooks) == len(parts.model.module.get_output_embeddings()._forward_pre_hooks) == 1
