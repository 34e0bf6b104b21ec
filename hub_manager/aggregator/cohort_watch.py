"""Who takes part, as the hub manager says it while the rounds go on: by the API server at once, by the file in the end.

The kubelet brings a changed ConfigMap into the pod within about a minute; a cluster that is removed has to lose its
streams within seconds, so the ConfigMap itself is watched. Both say the same, one of them earlier; a cohort's
generation tells which is newer, and an old file takes nothing back (`membership`).
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from federation.api.aggregator_run import COHORT_FILE, AggregatorRun, Cohort
from federation.api.kubernetes.core import ConfigMap
from federation.kube.api import Api
from federation.kube.kinds import CONFIG_MAP
from federation.kube.reflector import Reflector
from hub_manager.aggregator.config import AggregatorFolders, ConfigError, read_cohort

Take = Callable[[Cohort], None]

_log = structlog.stdlib.get_logger(__name__)


async def follow_file(folders: AggregatorFolders, take: Take, look: float) -> None:
    """Takes what the mounted file says, every so many seconds: it has no watch, kubelets replace a link."""
    while True:
        try:
            take(await asyncio.to_thread(read_cohort, folders))
        except ConfigError as error:
            # Nobody is let in or removed by a file that can't be read; the next look may find it whole.
            _log.error("cohort_unreadable", error=str(error))
        await asyncio.sleep(look)


async def follow_server(api: Api, run: AggregatorRun, take: Take) -> None:
    """Takes what the run's ConfigMap says, as soon as it says something else."""
    reflector: Reflector[ConfigMap] = Reflector(api, CONFIG_MAP, namespace=run.namespace, name=run.config_map)

    def changed(_old: ConfigMap | None, new: ConfigMap | None) -> None:
        if new is None:
            return
        try:
            take(msgspec.json.decode(new.data.get(COHORT_FILE, ""), type=Cohort))
        except msgspec.DecodeError as error:
            _log.error("cohort_unreadable", error=str(error))

    reflector.subscribe(changed)
    await reflector.run()
