"""Refusals are gathered, each once, with lines that know what is written there."""

import copy
import pickle

import pytest

from snnax.errors import ConversionError, TrainingModeError
from snnax.interop.findings import Findings, Line

HERE = 11  # the number of this line


def test_a_line_knows_what_is_written_there():
    line = Line.at(__file__, HERE)
    assert line == f"test_findings.py:{HERE}" and line.text.startswith("HERE = 11")
    assert Line() == "" and Line().text == "" and Line.at("none.py", 3).text == ""


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda line: pickle.loads(pickle.dumps(line))])
def test_a_line_is_copied_whole(copied):
    assert copied(Line.at(__file__, HERE)).text.startswith("HERE")


def test_all_is_told_at_once_and_once():
    findings = Findings(lambda node: f"{node}.py:1")
    with findings.going_on():
        raise ConversionError("a", "it is one", "Edit.", "net.py:3")
    findings.add(
        [ConversionError("a", "it is one", "Edit.", "net.py:3"), TrainingModeError("b", "two", "Eval.")]
    )
    assert findings and findings.lines == {"net.py:3", "b.py:1"}
    assert ConversionError("a", "it is one", "Other words.", "net.py:3") in findings
    with pytest.raises(ConversionError, match="2 things") as caught:
        findings.check()
    parts = caught.value.apart()
    assert [(type(p), p.node, p.line) for p in parts] == [
        (ConversionError, "a", "net.py:3"), (TrainingModeError, "b", "b.py:1"),
    ]  # fmt: skip
    assert not any(part.others for part in parts)


def test_errors_that_list_several_are_taken_apart():
    findings = Findings()
    cause = ValueError("torch")
    first = ConversionError("a", "one", "Edit.")
    first.__cause__ = cause
    findings.add([ConversionError.joined([first, ConversionError("b", "two", "Edit.")])])
    with pytest.raises(ConversionError) as caught:
        findings.check()
    assert [part.node for part in caught.value.apart()] == ["a", "b"]
    assert caught.value.__cause__ is cause and caught.value.apart()[0].__cause__ is cause


def test_without_findings_there_is_no_error():
    findings = Findings()
    findings.check()
    assert not findings and not findings.lines


def test_other_errors_pass():
    with pytest.raises(KeyError), Findings().going_on():
        raise KeyError
