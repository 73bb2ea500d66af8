"""What W&B has and this has not yet: the answer helps, and none of it is there by mistake."""

from __future__ import annotations

import pytest

from syncd_client import aio, errors, missing

SUBJECTS = [("Artifact", name) for name in missing.ARTIFACT] + [("Run", name) for name in missing.RUN]


@pytest.mark.parametrize(("kind", "name"), SUBJECTS)
def test_a_member_that_is_not_there_says_what_to_use(wandb, kind, name):
    made = wandb.Artifact("data", "dataset") if kind == "Artifact" else wandb.init(reinit="create_new")
    table = missing.ARTIFACT if kind == "Artifact" else missing.RUN
    with pytest.raises(AttributeError) as caught:
        getattr(made, name)
    assert str(caught.value) == missing.told(f"{kind}.{name}", table[name])
    with pytest.raises(AttributeError, match="is not offered"):
        setattr(made, name, 1)
    assert not hasattr(made, name)


@pytest.mark.parametrize("kind", ["Artifact", "Run"])
def test_what_is_offered_does_not_stand_in_the_table(wandb, kind):
    for flavour in (getattr(wandb, kind), getattr(aio, kind)):
        for name in missing.ARTIFACT if kind == "Artifact" else missing.RUN:
            homes = [vars(base)[name] for base in flavour.__mro__ if name in vars(base)]
            assert [type(home) for home in homes] == [missing.NotOffered], f"delete {name} from missing.py"


@pytest.mark.parametrize("name", missing.MODULE)
def test_a_name_of_the_module_that_is_not_there_says_what_to_use(wandb, name):
    assert name not in wandb.__all__
    with pytest.raises(AttributeError) as caught:
        getattr(wandb, name)
    assert str(caught.value) == missing.told(f"syncd_client.{name}", missing.MODULE[name])


def test_other_names_are_answered_as_before(wandb):
    artifact = wandb.Artifact("data", "dataset")
    with pytest.raises(errors.ArtifactNotLoggedError, match="used prior to logging"):
        _ = artifact.version
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = artifact.nonsense
    with pytest.raises(AttributeError, match="nothing else"):
        _ = wandb.nonsense


def test_the_words_are_those_people_read(wandb):
    with pytest.raises(AttributeError) as caught:
        wandb.Artifact("data", "dataset").delete()
    assert str(caught.value) == "Artifact.delete is not offered yet; `syncctl rm NAME:vN`"
    with pytest.raises(AttributeError, match=r"Run\.log is not offered; syncd carries artifacts only"):
        wandb.init().log({"loss": 1})
