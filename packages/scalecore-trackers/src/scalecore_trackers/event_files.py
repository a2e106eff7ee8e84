"""TensorBoard event files, written with TensorBoard's record writer. Imports neither torch nor TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from scalecore.api.space import Value

__all__ = ["EventFile"]


class EventFile:
    """A new event file. It makes TensorBoard discard the events of earlier files in the folder.

    TensorBoard reads the files of a folder in the order of their names. Earlier files are kept, because TensorBoard
    does not recover if the file that it is reading disappears.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{time.time_ns():020d}.scalecore"
        self._writer = RecordWriter(path.open("wb"))
        self._write(Event(file_version="brain.Event:2", wall_time=time.time()))
        self._write(Event(session_log=SessionLog(status=SessionLog.START), step=0, wall_time=time.time()))

    def scalars(self, values: Mapping[str, float], *, step: int, at: float | None) -> None:
        """Write the numbers of one step. `at` is in seconds since 1970; None means now."""
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(Event(summary=summary, step=step, wall_time=time.time() if at is None else at))

    def start(self, group: str, parameters: Mapping[str, Value], *, at: float | None) -> None:
        """Write the start of a trial with its parameters."""
        info = plugin_data_pb2.SessionStartInfo(group_name=group, start_time_secs=at or 0.0)
        for name, value in parameters.items():
            if isinstance(value, bool):
                info.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                info.hparams[name].number_value = value
            else:
                info.hparams[name].string_value = str(value)
        self._hparams(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))

    def end(self, *, success: bool, at: float | None) -> None:
        """Write the end of the trial."""
        status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
        info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=at or 0.0)
        self._hparams(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info))

    def columns(self, parameters: Mapping[str, type], metrics: Mapping[str, str]) -> None:
        """Write the columns of the table of hyper-parameters. `metrics` maps tags to titles."""
        kinds = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING}
        experiment = api_pb2.Experiment(
            hparam_infos=[
                api_pb2.HParamInfo(name=name, type=kinds.get(kind, api_pb2.DATA_TYPE_FLOAT64))
                for name, kind in parameters.items()
            ],
            metric_infos=[
                api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title)
                for tag, title in metrics.items()
            ],
        )
        self._hparams(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _hparams(self, tag: str, content: plugin_data_pb2.HParamsPluginData) -> None:
        value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
        self._write(Event(summary=Summary(value=[value]), wall_time=time.time()))

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())
