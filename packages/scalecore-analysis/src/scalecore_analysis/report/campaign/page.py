"""The page of a campaign and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from scalecore.api.trials import StudyView
from scalecore_analysis.report.campaign.budgets import baselines, budgets
from scalecore_analysis.report.campaign.checklist import checklist
from scalecore_analysis.report.campaign.ledger import absent_studies, campaigns_of, ledger
from scalecore_analysis.report.campaign.members import CampaignView
from scalecore_analysis.report.campaign.optima import optima
from scalecore_analysis.report.campaign.setup import data_section, setup_section
from scalecore_analysis.report.campaign.verdicts import assessed, laws, short, verdicts
from scalecore_analysis.report.html import figure_files, section_page
from scalecore_analysis.report.measured import Measured
from scalecore_analysis.report.section import Row, Section
from scalecore_analysis.vega import FileFormat

__all__ = ["CampaignReport", "campaign_report"]


@frozen(kw_only=True)
class CampaignReport:
    """The sections of the page, and its title."""

    title: str
    sentence: str
    sections: Sequence[Section]

    def page(self, pages: Mapping[str, str]) -> str:
        """The HTML, with links to the `pages` of the studies by name."""
        return section_page(self.title, self.sentence, self.sections, pages=pages)

    @property
    def summary(self) -> list[str]:
        """All sentences, the verdicts first."""
        first, *rest = self.sections
        return [self.sentence, *first.text, *(f"{one.title}: {text}" for one in rest for text in one.text)]

    @property
    def tables(self) -> dict[str, list[Row]]:
        """The tables of the sections, with an interval as the text of its cell."""
        return {
            title: [{name: _text(value) for name, value in row.items()} for row in rows]
            for one in self.sections
            for title, rows in one.tables.items()
        }

    @property
    def plain(self) -> Row:
        """All numbers unrounded, by section."""
        return {one.title: one.data for one in self.sections}

    def figure_files(self, formats: Sequence[FileFormat]) -> dict[str, str | bytes]:
        """The figures in the folder `figures`, named after their titles."""
        figures = {title.lower(): spec for one in self.sections for title, spec in one.figures.items()}
        return {f"figures/{name}": content for name, content in figure_files(figures, formats).items()}


def campaign_report(studies: Sequence[StudyView]) -> CampaignReport:
    """The report of several studies, whether they are comparable or not."""
    view = CampaignView.of(studies)
    absent = absent_studies(studies)
    found = assessed(view)
    sections = [
        verdicts(view, found),
        laws(view, found),
        budgets(view),
        baselines(view),
        optima(view),
        setup_section(view),
        data_section(view),
        checklist(view, found),
        ledger(view, absent),
    ]
    done = sum(len(one.trials) for one in studies)
    total = sum(one.total for one in studies)
    retrained = sum(len(one.confirmations) for one in studies)
    sentence = (
        f"{len(studies)} studies in {len(view.groups)} group{'s' * (len(view.groups) != 1)}: {done} of {total} trials "
        f"finished, {retrained} retrainings with fresh seeds."
    )
    if absent:
        sentence += f" {len(absent)} other studies of the campaign are not on this page."
    sentence += f" Does the loss fall with size? {'; '.join(map(short, found))}."
    return CampaignReport(title=_title(studies), sentence=sentence, sections=sections)


def _title(studies: Sequence[StudyView]) -> str:
    campaigns = {one.path: one.name for one in campaigns_of(studies)}
    folders = {study.folder.absolute().parent for study in studies}
    if len(folders) == 1 and len(campaigns) == 1:
        return f"Campaign {next(iter(campaigns.values()))}"
    return f"Report of {len(studies)} studies"


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Measured) else value
