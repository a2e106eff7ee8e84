"""The contracts of scalecore's test kit, on the package and on each component."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.strategy import SearchContext
from scalecore.testing import LoggerContract, PluginContract, SearchStrategyContract
from scalecore_example.evolution import Evolution
from scalecore_example.family import TCNFamily
from scalecore_example.markdown import MarkdownLogger
from scalecore_example.options import EvolutionOptions, MarkdownOptions, TCNOptions
from scalecore_torch.testing import ModelContract


class TestPackage(PluginContract):
    distribution = "scalecore-example"


class TestTCN(ModelContract):
    @pytest.fixture
    def family(self) -> TCNFamily:
        return TCNFamily(TCNOptions(channels=(3, 16), levels=(1, 3), kernel=(2, 3)))


class TestEvolution(SearchStrategyContract):
    @pytest.fixture
    def make(self) -> Callable[[SearchContext], Evolution]:
        return lambda context: Evolution(EvolutionOptions(population=4, tournament=2), context)


class TestMarkdown(LoggerContract):
    @pytest.fixture
    def make(self) -> Callable[[LoggerContext], Logger]:
        return lambda context: MarkdownLogger(MarkdownOptions(), context)
