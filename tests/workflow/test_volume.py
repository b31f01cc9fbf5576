"""On Kubernetes and Google Batch jobs find the checkout on a volume, or nothing starts."""

from types import SimpleNamespace

import pytest
from snakemake.settings.types import RemoteExecutionSettings, StorageSettings
from snakemake_interface_executor_plugins.settings import SharedFSUsage

from infwidth.config.errors import UserError
from infwidth.workflow import share_volume


def workflow(**remote):
    """As much of Snakemake's workflow as is read; storage as those executors leave it."""
    storage = StorageSettings(
        default_storage_provider="fs", default_storage_prefix="x", shared_fs_usage=frozenset()
    )
    return SimpleNamespace(
        remote_execution_settings=RemoteExecutionSettings(**remote),
        storage_settings=storage,
        storage_registry=SimpleNamespace(_default_storage_provider="fs"),
    )


@pytest.mark.parametrize(
    ("image", "volume", "words"),
    [
        ("$INFWIDTH_IMAGE", "claim:{here}", "INFWIDTH_IMAGE is not set"),
        ("image:1", None, "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim", "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim:relative", "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim:{here}/below", "does not hold this folder"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, monkeypatch, image, volume, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INFWIDTH_VOLUME", raising=False)
    if volume is not None:
        monkeypatch.setenv("INFWIDTH_VOLUME", volume.format(here=tmp_path))
    with pytest.raises(UserError, match=words) as error:
        share_volume(workflow(container_image=image))
    assert "\n" not in str(error.value)


def test_a_folder_on_the_volume_is_shared_but_for_the_software(tmp_path, monkeypatch):
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("INFWIDTH_VOLUME", f"claim:{tmp_path}")
    remote = workflow(container_image="image:1")
    share_volume(remote)
    usage = remote.storage_settings.shared_fs_usage
    assert SharedFSUsage.INPUT_OUTPUT in usage
    assert SharedFSUsage.SOFTWARE_DEPLOYMENT not in usage
    assert remote.storage_settings.default_storage_provider is None
    assert remote.storage_registry._default_storage_provider is None


def test_elsewhere_nothing_is_touched(monkeypatch):
    monkeypatch.delenv("INFWIDTH_VOLUME", raising=False)
    local = workflow()
    share_volume(local)
    assert local.storage_settings.default_storage_provider == "fs"
