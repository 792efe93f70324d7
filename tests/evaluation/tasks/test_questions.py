"""Files of questions as people have them: from other editors, with one document, or with a slip."""

import json
import re

import pytest
import torch

from evaluation.tasks.tokenizers_made import byte_tokenizer
from ropewalk.core.answering import ForcedAnswer
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass
from ropewalk.evaluation.tasks.generator import Place
from ropewalk.evaluation.tasks.questions import read_questions
from ropewalk.evaluation.tasks.retrieval import Retrieval
from ropewalk.evaluation.tasks.table import Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens

TOKENS = Tokens.of(byte_tokenizer())
LENGTH = 2048
PARIS = {"document": "Paris is the capital.", "question": "The capital?", "answer": "Paris"}
ROME = {"document": "Rome is older.", "question": "The older one?", "answer": "Rome"}


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def written(tmp_path, text):
    path = tmp_path / "questions.jsonl"
    path.write_bytes(text.encode())
    return path


def samples(path, trials=4):
    made = generator("qa", Materials(tokens=TOKENS, texts=(), questions=path))
    places = [Place(length=LENGTH, depth=0.5, seed=1, trial=trial) for trial in range(trials)]
    return [made.sample(place, TOKENS) for place in places]


@pytest.mark.parametrize("within", ["\u2028", "\u2029", "\x85", "\u00a0"])
def test_a_line_ends_where_json_lines_end(tmp_path, within):
    """Python would also end it at separators that JSON allows within a text."""
    row = {**PARIS, "document": f"Paris is{within}the capital."}
    (first, _) = read_questions(written(tmp_path, lines(row, ROME)))
    assert first.document == row["document"]


@pytest.mark.parametrize("begin", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_files_of_any_editor_are_read(tmp_path, begin, end):
    text = begin + lines(PARIS, ROME).replace("\n", end)
    assert [each.answer for each in read_questions(written(tmp_path, text))] == ["Paris", "Rome"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{bad", "expected JSON lines in UTF-8 (Expecting property name"),
        ('{"document": "a", "question": "b"}', "expected the texts document, question, answer"),
        ("[1, 2]", "expected the texts document, question, answer"),
        (
            '{"document": "a \\ud83d", "question": "b", "answer": "c"}',
            r"'\ud83d' is half a character; expected text that can be written as UTF-8",
        ),
    ],
)
def test_a_slip_is_told_by_its_line_in_the_file(tmp_path, line, what):
    path = written(tmp_path, f"{lines(PARIS, ROME)}\n{line}\n")
    with pytest.raises(RopewalkError, match=re.escape(f"{path}, line 4: {what}")):
        read_questions(path)


def test_an_answer_is_what_a_model_can_say(tmp_path):
    path = written(tmp_path, lines({**PARIS, "answer": " Paris\n"}, ROME))
    assert read_questions(path)[0].answer == "Paris"


def test_questions_on_one_document_are_ranked_among_its_other_answers(tmp_path):
    text = "Paris is the capital. Rome is older. Bern is smaller."
    rows = [
        {"document": text, "question": f"{name}?", "answer": name}
        for name in ("Paris", "Rome", "Bern")
    ]
    for sample in samples(written(tmp_path, lines(*rows))):
        assert sample.context.count(text) == 1
        assert {*sample.answer, *(each for (each,) in sample.distractors)} == {
            "Paris",
            "Rome",
            "Bern",
        }


def test_answers_from_other_documents_come_first_and_each_document_once(tmp_path):
    rows = [
        {"document": f"Document {n} is here.", "question": f"{n}, {k}?", "answer": f"{n}{k}"}
        for n in "ABC"
        for k in range(3)
    ]
    for sample in samples(written(tmp_path, lines(*rows)), trials=9):
        (asked,) = sample.answer
        assert len(sample.distractors) == 3
        assert not any(wrong.startswith(asked[0]) for (wrong,) in sample.distractors)
        for name in "ABC":
            assert sample.context.count(f"Document {name} is here.") == 1


class Guessing:
    """Thinks every token equally likely."""

    def read(self, prompts, split):
        self.count = len(prompts)
        return self

    def forced(self, continuations):
        nats = torch.ones(continuations.shape, dtype=torch.float64)
        return ForcedAnswer(nats, nats < 0)

    def greedy(self, count, stops):
        return torch.zeros(self.count, count, dtype=torch.long)


@pytest.mark.parametrize("turned", [1, -1])
def test_every_trial_has_a_rank_where_a_question_has_its_answer_elsewhere(tmp_path, turned):
    """In the order of the file, the first question or the second has no other document to ask."""
    rows = [{**PARIS, "answer": "a"}, {**PARIS, "answer": "b"}, {**ROME, "answer": "a"}]
    path = written(tmp_path, lines(*rows[::turned]))
    made = generator("qa", Materials(tokens=TOKENS, texts=(), questions=path))
    task = Retrieval(generator=made, tokens=TOKENS, trials=3)
    units = task.units(Guessing(), (LENGTH,), FullPass(), batch=1, advance=lambda cost: None)
    assert task.fields(units[LENGTH])["value"] is not None
