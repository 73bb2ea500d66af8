"""init, finish and what the module speaks for, as the published wandb 0.31 does it."""

from __future__ import annotations

import pytest

from syncd_client import errors


def test_a_second_init_returns_the_active_run(wandb):
    first = wandb.init(project="a")
    assert wandb.run is first
    assert wandb.init(project="b") is first
    assert wandb.init(project="b", reinit=False) is first
    assert wandb.init(reinit="return_previous") is first


def test_reinit_finishes_the_previous_run(wandb):
    first = wandb.init()
    second = wandb.init(reinit=True)
    assert second is not first
    assert wandb.run is second
    with pytest.raises(wandb.UsageError, match="is finished"):
        first.log_artifact("x")


def test_create_new_leaves_the_module_to_the_first_run(wandb):
    first = wandb.init()
    second = wandb.init(reinit="create_new")
    assert second is not first
    assert wandb.run is first
    assert wandb.init() is second


def test_must_resume_beside_an_active_run_is_refused(wandb):
    wandb.init()
    with pytest.raises(wandb.Error, match="Cannot resume a run while another run is active"):
        wandb.init(resume="must")


def test_functions_of_the_module_need_a_run(wandb):
    assert wandb.run is None
    with pytest.raises(wandb.Error, match=r"You must call init\(\) before log_artifact\(\)"):
        wandb.log_artifact("x")
    with pytest.raises(wandb.Error, match="before use_artifact"):
        wandb.use_artifact("x")
    wandb.finish()


def test_a_with_block_finishes_its_run(wandb):
    with wandb.init(project="p", job_type="train", group="g", name="n", config={"lr": 0.1}) as run:
        assert wandb.run is run
        assert (run.project, run.job_type, run.group, run.name, run.config.lr) == ("p", "train", "g", "n", 0.1)
        assert len(run.id) == 8
    assert wandb.run is None


def test_ids_and_projects_come_from_the_environment_and_keep_the_rules(wandb, monkeypatch):
    monkeypatch.setenv("SYNCD_RUN_ID", "slurm-17")
    monkeypatch.setenv("SYNCD_PROJECT", "from-env")
    run = wandb.init()
    assert (run.id, run.project) == ("slurm-17", "from-env")
    run.finish()
    with pytest.raises(ValueError, match="run id"):
        wandb.init(id="a/b")
    with pytest.raises(errors.InvalidInput, match="project"):
        wandb.init(project="a/b")


def test_arguments_of_the_service_are_named_in_a_warning(wandb, capsys):
    wandb.init(entity="me", mode="online", tags=["x"], monitor_gym=True)
    assert "ignored: entity, tags, mode, monitor_gym" in capsys.readouterr().err
