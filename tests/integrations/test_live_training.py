"""assert_encoding in training: wrapped models, a Trainer, a callback."""

import accelerate
import peft
import pytest
import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from transformers import (
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import ropewalk as rw
from recipes.families.sharpened import tiny, token_ids

WRAPPED = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "adapted": lambda model: peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])),
    "offloaded": accelerate.cpu_offload,
    "sharded": fully_shard,
}


@pytest.fixture
def one_rank():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("spec", ["yarn:factor=4", "dynamic_ntk", "rerope:window=12"])
@pytest.mark.parametrize("how", WRAPPED)
def test_a_wrapped_model_is_measured(how, spec, one_rank):
    model = tiny(num_hidden_layers=2, dtype=torch.float32)
    wrapped = WRAPPED[how](model)
    with pytest.raises(rw.RopewalkError, match=r"looks like none|more than a rotation"):
        rw.assert_encoding(wrapped, spec)
    with rw.extend(model, spec):
        rw.assert_encoding(wrapped, spec)
        with pytest.raises(rw.RopewalkError, match="linear:factor=3"):
            rw.assert_encoding(wrapped, "linear:factor=3")


class Texts(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        ids = token_ids(1, 20, seed=index)[0]
        return {"input_ids": ids, "labels": ids}


class Unscaled(TrainerCallback):
    """A tool that takes the extension out in the middle of a training."""

    def on_step_begin(self, args, state, control, **given):
        if state.global_step == 2:
            given["model"].ropewalk_extension.remove()


@pytest.mark.parametrize("spec", ["yarn:factor=4", "rerope:window=12"])
def test_a_trainer_stops_at_the_step_that_loses_the_encoding(spec, tmp_path):
    model = tiny(num_hidden_layers=2, dtype=torch.float32)
    settings = TrainingArguments(
        str(tmp_path),
        max_steps=5,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )

    def trainer(*others):
        callbacks = [rw.RopewalkCallback(spec, every_steps=1), *others]
        return Trainer(model, settings, train_dataset=Texts(), callbacks=callbacks)

    stops = trainer()
    with pytest.raises(rw.RopewalkError, match=f"does not apply {spec}|{spec} is more than"):
        stops.train()
    assert stops.state.global_step == 0
    with rw.extend(model, spec):
        trainer().train()
    stops = trainer(Unscaled())
    rw.extend(model, spec)
    with pytest.raises(rw.RopewalkError, match=f"does not apply {spec}|{spec} is more than"):
        stops.train()
    assert stops.state.global_step == 3


class _State:
    global_step = 4


def test_a_callback_asserts_at_the_start_and_every_few_steps():
    model, callback = tiny(num_hidden_layers=2), rw.RopewalkCallback("yarn:factor=4", every_steps=2)
    with pytest.raises(rw.RopewalkError, match="does not apply"):
        callback.on_train_begin(None, _State, None, model=model)
    with rw.extend(model, "yarn:factor=4"):
        callback.on_train_begin(None, _State, None, model=model)
        callback.on_step_end(None, _State, None, model=model)
    with pytest.raises(rw.RopewalkError, match="does not apply"):
        callback.on_step_end(None, _State, None, model=model)
    with pytest.raises(rw.RopewalkError, match="unknown"):
        rw.RopewalkCallback("yarm")


def test_a_model_in_training_stays_in_training():
    model, ids = tiny(num_hidden_layers=2).train(), token_ids(1, 20)
    with rw.extend(model, "yarn:factor=4"):
        rw.assert_encoding(model, "yarn:factor=4")
        assert model.training
        logits = model(ids).logits
        functional.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
