# SPDX-License-Identifier: Apache-2.0
"""On Kubernetes and Google Batch jobs find the checkout on a volume, or nothing starts."""

from types import SimpleNamespace

import pytest
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from snakemake_interface_executor_plugins.settings import ExecMode, SharedFSUsage

from infwidth.config.errors import UserError
from infwidth.workflow import share_volume

ALL_BUT_SOFTWARE = SharedFSUsage.all() - {SharedFSUsage.SOFTWARE_DEPLOYMENT}


def workflow(shared, mode=ExecMode.DEFAULT):
    """As much of Snakemake's workflow as is read."""
    return SimpleNamespace(exec_mode=mode, storage_settings=SimpleNamespace(shared_fs_usage=shared))


@pytest.mark.parametrize(
    ("image", "volume", "words"),
    [
        ("", "claim:{here}", "INFWIDTH_IMAGE is not set"),
        ("image:1", "", "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim", "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim:relative", "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim:{here}/below", "does not hold this folder"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, monkeypatch, image, volume, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFWIDTH_IMAGE", image)
    monkeypatch.setenv("INFWIDTH_VOLUME", volume.format(here=tmp_path))
    with pytest.raises(UserError, match=words) as error:
        share_volume(workflow(ALL_BUT_SOFTWARE))
    assert "\n" not in str(error.value)


def test_the_executor_is_told_that_the_folder_is_shared(tmp_path, monkeypatch):
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("INFWIDTH_IMAGE", "image:1")
    monkeypatch.setenv("INFWIDTH_VOLUME", f"claim:{tmp_path}")
    names = ("implies_no_shared_fs", "job_deploy_sources", "auto_deploy_default_storage_provider")
    settings = SimpleNamespace(**dict.fromkeys(names, True))
    plugin = SimpleNamespace(common_settings=settings)
    monkeypatch.setattr(ExecutorPluginRegistry, "is_installed", lambda _, name: True)
    monkeypatch.setattr(ExecutorPluginRegistry, "get_plugin", lambda _, name: plugin)
    share_volume(workflow(ALL_BUT_SOFTWARE))
    assert vars(settings) == dict.fromkeys(names, False)


@pytest.mark.parametrize(
    ("shared", "mode"),
    [(SharedFSUsage.all(), ExecMode.DEFAULT), (ALL_BUT_SOFTWARE, ExecMode.REMOTE)],
)
def test_elsewhere_and_inside_a_job_nothing_is_asked(monkeypatch, shared, mode):
    monkeypatch.delenv("INFWIDTH_IMAGE", raising=False)
    share_volume(workflow(shared, mode))
