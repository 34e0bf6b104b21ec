"""Watch the cohort during the run: the ConfigMap through the API server, and the mounted file as a fallback.

The kubelet updates a mounted ConfigMap within about a minute. A removed cluster must lose its streams within seconds,
so the aggregator also watches the ConfigMap itself. Both have the same content, at different times. The generation of
a cohort decides which is newer, so an old file has no effect.
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


async def follow_file(folders: AggregatorFolders, take: Take, interval: float) -> None:
    """Read the mounted file every `interval` seconds; polling is needed because the kubelet replaces a symlink."""
    while True:
        try:
            take(await asyncio.to_thread(read_cohort, folders))
        except ConfigError as error:
            # An invalid file leaves the cohort unchanged until the next read.
            _log.error("cohort_unreadable", error=str(error))
        await asyncio.sleep(interval)


async def follow_server(api: Api, run: AggregatorRun, take: Take) -> None:
    """Watch the run's ConfigMap, and take its cohort on every change."""
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
