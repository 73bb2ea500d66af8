"""W&B's documented example, with nothing changed but the import."""

from __future__ import annotations

import os

import pytest

from syncd_client import errors


@pytest.fixture
def train_csv(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").write_text("a,b\n1,2\n")


def test_the_two_halves_run_as_one_file(wandb, daemon, train_csv, tmp_path, capsys):
    daemon.hold()
    wandb.init(project="my-ml-project")
    artifact = wandb.Artifact(name="training-data", type="dataset")
    artifact.add_file("data/train.csv")
    wandb.log_artifact(artifact)
    os.unlink("data/train.csv")
    daemon.release()

    run = wandb.init(project="my-ml-project")
    artifact = run.use_artifact("training-data:latest")
    artifact_dir = artifact.download()

    assert artifact_dir == str(tmp_path / "artifacts/training-data:v0")
    assert (tmp_path / "artifacts/training-data:v0/train.csv").read_text() == "a,b\n1,2\n"
    artifact.verify()
    assert "returning the previous run" in capsys.readouterr().err


def test_a_logged_artifact_knows_its_version_after_wait(wandb, daemon, train_csv):
    run = wandb.init(project="p")
    artifact = wandb.Artifact("data", "dataset", "what it is", {"rows": 1})
    entry = artifact.add_file("data/train.csv", name="t/x.csv")
    assert (entry.path, entry.size, entry.receipt.ways) == ("t/x.csv", 8, {"copy": 1})
    assert artifact.receipts == [entry.receipt]
    assert (artifact.name, artifact.state, artifact.is_draft(), artifact.size) == ("data", "PENDING", True, 8)
    assert run.log_artifact(artifact, aliases=["best", "latest"], tags="one two") is artifact
    assert artifact.wait(timeout=10) is artifact
    assert (artifact.name, artifact.version, artifact.state) == ("data:v0", "v0", "COMMITTED")
    assert (artifact.qualified_name, artifact.id, artifact.project) == ("p/data:v0", "p/data:v0", "p")
    assert sorted(artifact.aliases) == ["best", "latest"]
    assert artifact.tags == ["one two"]
    assert (artifact.metadata, artifact.description, artifact.size, artifact.file_count) == (
        {"rows": 1},
        "what it is",
        8,
        1,
    )
    assert len(artifact.digest) == 64


def test_what_only_a_version_has_is_refused_to_a_draft_as_w_and_b_does(wandb, daemon):
    artifact = wandb.Artifact("data", "dataset")
    for member in ("version", "aliases", "tags", "digest", "project", "qualified_name", "file_count"):
        with pytest.raises(wandb.ArtifactNotLoggedError, match=f"'Artifact.{member}' used prior to logging") as caught:
            getattr(artifact, member)
        assert isinstance(caught.value, AttributeError)
    with pytest.raises(wandb.ArtifactNotLoggedError):
        artifact.wait()
    with pytest.raises(wandb.ArtifactNotLoggedError):
        artifact.download()


def test_a_logged_artifact_takes_no_more(wandb, daemon, train_csv):
    artifact = wandb.Artifact("data", "dataset")
    wandb.init()
    wandb.log_artifact(artifact)
    for change in (
        lambda: artifact.add_file("data/train.csv"),
        lambda: artifact.add_dir("data"),
        lambda: artifact.new_file("x").__enter__(),
    ):
        with pytest.raises(wandb.ArtifactFinalizedError, match="Can't modify finalized artifact"):
            change()
    with pytest.raises(wandb.ArtifactFinalizedError):
        artifact.metadata = {}


def test_a_path_is_logged_as_an_artifact_of_its_own(wandb, daemon, train_csv):
    run = wandb.init(id="r1")
    one = run.log_artifact("data/train.csv").wait()
    assert (one.name, one.type) == ("run-r1-train.csv:v0", "unspecified")
    many = run.log_artifact("data/", name="folder", type="dataset").wait()
    assert (many.name, many.type, many.file_count) == ("folder:v0", "dataset", 1)
    with pytest.raises(ValueError, match="path must be a file or a directory"):
        run.log_artifact("nowhere")
    with pytest.raises(TypeError):
        run.log_artifact(3)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "é", "x" * 129, "a\n"])
def test_bad_artifact_names_are_value_errors(wandb, name):
    with pytest.raises(ValueError, match="Artifact name"):
        wandb.Artifact(name, "dataset")


def test_bad_input_is_refused_in_the_caller(wandb, daemon, tmp_path):
    (tmp_path / "f").write_text("1")
    (tmp_path / "g").write_text("22")
    artifact = wandb.Artifact("data", "dataset")
    with pytest.raises(ValueError, match="Path is not a file: 'nowhere'"):
        artifact.add_file("nowhere")
    with pytest.raises(ValueError, match="Path is not a file"):
        artifact.add_file(str(tmp_path))
    with pytest.raises(ValueError, match="Path is not a directory"):
        artifact.add_dir("f")
    for name in ("../x", "/x", "a/../b", ".", "a\0b"):
        with pytest.raises(ValueError, match="Invalid artifact path"):
            artifact.add_file("f", name=name)
    with pytest.raises(ValueError, match="mutable"):
        artifact.add_file("f", policy="whatever")
    artifact.add_file("f", name="./a//b")
    artifact.add_file("f", name="a/b")
    with pytest.raises(ValueError, match="Cannot add the same path twice"):
        artifact.add_file("g", name="a/b")
    artifact.add_file("g", name="a/b", overwrite=True)
    assert artifact.size == 2
    with pytest.raises(ValueError, match="alias"):
        wandb.init().log_artifact(artifact, aliases=["a/b"])
    assert artifact.job == ""


def test_new_files_are_written_synced_added_and_removed(wandb, daemon, tmp_path):
    artifact = wandb.Artifact("data", "dataset")
    with artifact.new_file("notes/a.txt") as file:
        file.write("héllo")
    with artifact.new_file("raw.bin", mode="wb") as file:
        file.write(b"\xff\0")
    with pytest.raises(ValueError, match="already exists"), artifact.new_file("notes/a.txt"):
        pass
    with artifact.new_file("notes/a.txt", mode="w", encoding="latin-1") as file:
        file.write("é")
    with pytest.raises(ZeroDivisionError), artifact.new_file("never"):
        1 / 0  # noqa: B018
    assert list((tmp_path / "staging").iterdir()) == []
    wandb.init().log_artifact(artifact).wait().download("out")
    assert (tmp_path / "out/notes/a.txt").read_bytes() == b"\xe9"
    assert (tmp_path / "out/raw.bin").read_bytes() == b"\xff\0"
    assert not (tmp_path / "out/never").exists()


def test_waiting_has_an_end_and_the_upload_goes_on(wandb, daemon, train_csv):
    daemon.hold()
    run = wandb.init()
    artifact = wandb.Artifact("data", "dataset")
    artifact.add_file("data/train.csv")
    run.log_artifact(artifact)
    with pytest.raises(wandb.WaitTimeoutError):
        artifact.wait(timeout=0.05)
    with pytest.raises(TimeoutError):
        run.use_artifact("data:latest", timeout=0.05)
    assert artifact.is_draft()
    daemon.release()
    assert artifact.wait().version == "v0"


def test_a_failed_upload_is_a_value_error_that_keeps_its_code(wandb, daemon):
    from syncd_client.wire.messages import ErrorInfo

    daemon.fail_jobs_with = ErrorInfo("remote_refused", "the bucket refused", "403", "look at the credentials")
    artifact = wandb.init().log_artifact(wandb.Artifact("data", "dataset"))
    with pytest.raises(ValueError, match="the bucket refused") as caught:
        artifact.wait()
    stands = f"its files stay pinned: `syncctl jobs` shows the job, `syncctl cancel {artifact.job}` lets them go"
    assert (caught.value.code, caught.value.exit_code, caught.value.hint) == (
        "remote_refused",
        8,
        f"look at the credentials; {stands}",
    )
    assert isinstance(caught.value.__cause__, PermissionError)


def test_use_artifact_takes_names_drafts_and_versions(wandb, daemon, train_csv):
    run = wandb.init(project="p")
    draft = wandb.Artifact("data", "dataset")
    assert run.use_artifact(draft, aliases="best").version == "v0"
    assert run.use_artifact("entity/p/data:best", type="dataset").name == "data:v0"
    assert run.use_artifact(draft) is draft
    with pytest.raises(ValueError, match="does not match type"):
        run.use_artifact("data:v0", type="model")
    with pytest.raises(ValueError, match="Invalid artifact path"):
        run.use_artifact("a/b/c/d:v0")
    with pytest.raises(wandb.CommError, match="no data:v9"):
        run.use_artifact("data:v9")
    with pytest.raises(ValueError, match="You must pass an artifact name"):
        run.use_artifact(3)
    used = [request for request in daemon.asked if request.op == "use"]
    assert {request.run.id for request in used} == {run.id}


def test_what_differs_on_disk_fails_verification(wandb, daemon, train_csv, tmp_path):
    artifact = wandb.init().log_artifact("data", name="data").wait()
    place = artifact.download(root="out")
    assert place == "out"
    (tmp_path / "out/train.csv").write_text("other")
    with pytest.raises(ValueError, match="is not data:v0: train") as caught:
        artifact.verify("out")
    assert isinstance(caught.value, errors.Corrupt)


def test_artifact_dir_may_be_named_by_the_environment(wandb, daemon, train_csv, monkeypatch, tmp_path):
    monkeypatch.setenv("SYNCD_ARTIFACT_DIR", "elsewhere")
    artifact = wandb.init().log_artifact("data", name="data").wait()
    assert artifact.download() == str(tmp_path / "elsewhere/data:v0")
    assert (tmp_path / "elsewhere/data:v0/train.csv").exists()


def test_drafts_that_nobody_holds_are_dropped_by_the_next_call(wandb, daemon, train_csv):
    artifact = wandb.Artifact("data", "dataset")
    artifact.add_file("data/train.csv")
    del artifact
    kept = wandb.Artifact("data", "dataset")
    kept.add_file("data/train.csv")
    assert daemon.ops() == ["add_file", "drop_draft", "add_file"]
    wandb.init().log_artifact(kept)
    del kept
    wandb.log_artifact("data")
    assert daemon.ops().count("drop_draft") == 1
