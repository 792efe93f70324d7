"""Every sample answers its own question: solvers that know nothing of the generators agree.

Each solver reads the text alone, as upstream words it, and must find the answer and the
distractors; each text is also put together again from what a solver takes out of it.
"""

import json
import re
from collections import Counter

import pytest

from evaluation.tasks.tokenizers_made import BOOK, demo
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_model
from ropewalk.evaluation.tasks.generator import Place
from ropewalk.evaluation.tasks.hidden_needles import FACTS
from ropewalk.evaluation.tasks.questions import read_questions
from ropewalk.evaluation.tasks.table import GENERATORS, Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NEEDLE = re.compile(r"One of the special magic (?:numbers|uuids) for (\S+) is: (\S+)\.(?=\s|$)")
SEEDS = (1, 2, 3)
LENGTH = 3000


@pytest.fixture(scope="module")
def materials(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = [
        {"document": f"Town {n} has {n + 900} houses.", "question": f"Houses of town {n}?"}
        for n in range(30)
    ]
    lines = [json.dumps({**row, "answer": str(900 + n)}) for n, row in enumerate(rows)]
    path.write_text("\n".join(lines), "utf-8")
    return Materials(tokens=Tokens.of(demo()), texts=[BOOK[:400_000]], questions=path)


def samples(name, materials, length=LENGTH):
    made = generator(name, materials)
    for seed in SEEDS:
        for trial, depth in enumerate((0.0, 0.4, 1.0)):
            place = Place(length=length, depth=depth, seed=seed, trial=trial)
            yield depth, made.sample(place, materials.tokens)


def without_needles(text, pattern):
    return re.sub(r"\s+", " ", pattern.sub(" ", text)).strip()


def is_noise(text):
    """Nothing but the sentences of the noise line."""
    sentences = re.split(r"(?<=\.)\s+", text.strip())
    return set(filter(None, sentences)) <= set(re.split(r"(?<=\.) ", NOISE))


@pytest.mark.parametrize("name", ["niah_single_1", "niah_single_2", "niah_single_3"])
def test_one_needle_is_alone_in_its_haystack(name, materials):
    for depth, sample in samples(name, materials):
        ((key, value),) = NEEDLE.findall(sample.context)
        assert sample.answer == (value,)
        assert f" for {key} mentioned" in sample.question
        assert sample.distractors == ()
        opening, haystack = sample.context.split(" afterwards.\n")
        assert opening.startswith("A special magic ")
        rest = without_needles(haystack, NEEDLE)
        assert is_noise(rest) if name.endswith("1") else not is_noise(rest)
        before = haystack.index("One of the special") / len(haystack)
        assert sample.depth == pytest.approx(before, abs=0.01)
        assert before == pytest.approx(depth, abs=0.05)
        assert len(value) == (36 if name.endswith("3") else 7)


@pytest.mark.parametrize(
    "name", ["needle", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3"]
)
def test_one_key_of_many_is_asked_for_and_the_distractors_stand_in_the_text(name, materials):
    for depth, sample in samples(name, materials):
        found = NEEDLE.findall(sample.context)
        values = dict(found)
        assert len(values) == len(found) == len(set(values.values()))  # no key, no value twice
        (asked,) = re.findall(r" for (\S+) mentioned", sample.question)
        assert sample.answer == (values[asked],)
        assert len(sample.distractors) == 3
        assert {each for (each,) in sample.distractors} <= set(values.values()) - {values[asked]}
        assert (len(found) == 4) == (name in ("needle", "niah_multikey_1"))
        haystack = sample.context.split(" afterwards.\n")[1]
        before = haystack.index(f" for {asked} is") / len(haystack)
        assert before == pytest.approx(depth, abs=0.06)


def test_all_values_of_a_key_are_asked_for_in_the_order_of_the_text(materials):
    for _, sample in samples("niah_multivalue", materials):
        found = NEEDLE.findall(sample.context)
        assert len({key for key, _ in found}) == 1
        assert sample.answer == tuple(value for _, value in found)
        assert len(sample.answer) == 4
        assert "What are all the special magic numbers for" in sample.question


def test_all_keys_are_asked_for_in_the_order_of_the_question(materials):
    for _, sample in samples("niah_multiquery", materials):
        values = dict(NEEDLE.findall(sample.context))
        asked = re.findall(r"\w+-\w+", sample.question)
        assert sample.answer == tuple(values[key] for key in asked)
        assert len(asked) == 4
        for wrong in sample.distractors:
            assert sorted(wrong) == sorted(sample.answer)
            assert not any(a == b for a, b in zip(wrong, sample.answer, strict=True))


def test_a_passkey_has_five_digits_and_no_other_number_beside_it(materials):
    pattern = re.compile(r"The pass key is (\d{5})\. Remember it\. (\d{5}) is the pass key\.")
    for depth, sample in samples("passkey", materials):
        ((first, second),) = pattern.findall(sample.context)
        assert sample.answer == (first,) == (second,)
        haystack = sample.context.split("important information there.\n")[1]
        assert is_noise(without_needles(haystack, pattern))
        assert haystack.index("The pass key") / len(haystack) == pytest.approx(depth, abs=0.05)


def test_a_chain_of_assignments_is_followed_to_its_end(materials):
    for _, sample in samples("vt", materials):
        text = sample.context.rsplit("hidden in the following text.\n\n", 1)[1]
        holds = {}
        for name, number, other in re.findall(r"VAR (\w+) = (?:(\d+)|VAR (\w+))", text):
            holds[name] = number or holds[other]  # a chain stands in order
        (asked,) = re.findall(r"value (\d+) in", sample.question)
        assert sample.answer == tuple(each for each, value in holds.items() if value == asked)
        assert len(sample.answer) == 5
        (wrong,) = sample.distractors
        assert set(wrong) == set(holds) - set(sample.answer)
        assert is_noise(re.sub(r"VAR \w+ = (?:\d+|VAR \w+)", " ", text))


@pytest.mark.parametrize(("length", "often", "seldom"), [(1500, 6, 1), (5000, 30, 3)])
def test_common_words_are_those_that_a_count_finds(length, often, seldom, materials):
    for _, sample in samples("cwe", materials, length):
        listed = sample.context.rsplit("appear most often.\n", 1)[1]
        entries = re.findall(r"(\d+)\. (\w+)(?= \d|\n)", listed)
        assert [int(number) for number, _ in entries] == list(range(1, len(entries) + 1))
        counts = Counter(word for _, word in entries)
        assert set(sample.answer) == {word for word, count in counts.items() if count == often}
        assert len(sample.answer) == 10
        assert {count for word, count in counts.items() if word not in sample.answer} == {seldom}
        assert set(sample.distractors[0]) <= set(counts) - set(sample.answer)


def test_frequent_words_follow_the_law_that_is_stated(materials):
    for _, sample in samples("fwe", materials):
        words = sample.context.split(".\n", 1)[1].split()
        coded = [word for word in words if word == "..." or re.fullmatch(r"[a-z]{6}", word)]
        counts = Counter(word for word in coded if word not in ("yellow", "again", "green"))
        ranked = [word for word, _ in counts.most_common()]
        assert ranked[0] == "..."
        assert sample.answer == tuple(ranked[1:4])
        zeta = sum(k**-2.0 for k in range(1, 200_000))
        total = counts["..."] * zeta
        for rank, word in enumerate(ranked[:6], 1):
            # counts are rounded down, of a total that this count knows to one part in count
            assert abs(counts[word] - total * rank**-2 / zeta) <= 1 + rank**-2
        (wrong,) = sample.distractors
        assert not set(wrong) & set(sample.answer)
        assert max(counts[word] for word in wrong) < min(counts[word] for word in sample.answer)


@pytest.mark.parametrize("name", ["graph_bfs", "graph_parents"])
def test_graph_walks_are_those_of_a_search_over_the_text(name, materials):
    for _, sample in samples(name, materials):
        edges = re.findall(r"(\w{6}) -> (\w{6})", sample.context)
        assert len(set(edges)) == len(edges)
        assert Counter(source for source, _ in edges).most_common()[-1][1] == 2
        (start,) = re.findall(r"node (\w{6})", sample.question)
        if name == "graph_parents":
            reached = {source for source, target in edges if target == start}
        else:
            distance, border = {start: 0}, [start]
            for node in border:
                for source, target in edges:
                    if source == node and target not in distance:
                        distance[target] = distance[node] + 1
                        border.append(target)
            reached = {node for node, steps in distance.items() if steps == 2}
        assert set(sample.answer) == reached
        nodes = list(dict.fromkeys(re.findall(r"\b[0-9a-f]{6}\b", sample.context)))
        assert sample.answer == tuple(node for node in nodes if node in reached)
        for wrong in sample.distractors:
            assert not set(wrong) & reached
            assert set(wrong) <= set(nodes)


def test_the_note_of_a_number_is_found_by_counting(materials):
    for _, sample in samples("coreference", materials):
        pattern = r"Write a note about the (\w+)\. Assistant: (.*?)(?= User:|$)"
        rounds = re.findall(pattern, sample.context, re.DOTALL)
        which, subject = re.findall(r"the (\w+) note about the (\w+)\.", sample.question)[0]
        alike = [note for about, note in rounds if about == subject]
        assert len(alike) == 4
        at = ("first", "second", "third", "fourth").index(which)
        assert alike[at].split()[:6] == sample.answer[0].split()
        others = {" ".join(note.split()[:6]) for note in alike} - set(sample.answer)
        assert {each for (each,) in sample.distractors} == others


def test_a_hidden_needle_shares_no_word_with_its_question(materials):
    facts = {place: fact for fact, place in FACTS}
    for _, sample in samples("needle_no_overlap", materials):
        (place,) = re.findall(r"has been to (\w+)\?", sample.question)
        assert place not in sample.context
        assert f"{sample.answer[0]} {facts[place]}." in sample.context
        for (person,) in sample.distractors:
            assert any(f"{person} {fact}." in sample.context for fact in facts.values())


def test_the_document_of_a_question_stands_among_others(materials):
    for depth, sample in samples("qa", materials):
        towns = dict(re.findall(r"Town (\d+) has (\d+) houses", sample.context))
        (asked,) = re.findall(r"Houses of town (\d+)\?", sample.question)
        assert sample.answer == (towns[asked],)
        assert {each for (each,) in sample.distractors} <= set(towns.values()) - {towns[asked]}
        assert sample.depth == pytest.approx(depth, abs=0.05)


def test_induction_asks_for_what_followed_the_same_tokens(materials):
    for _, sample in samples("induction", materials, 1024):
        ids, answer = list(sample.ids), list(sample.candidates[0])
        cue, text = ids[-4:], ids[:-4]
        places = [at for at in range(len(text)) if text[at : at + 4] == cue]
        assert [text[at + 4 : at + 8] for at in places] == [answer]
        assert sample.depth == pytest.approx(places[0] / len(text), abs=1e-9)
        for wrong in sample.candidates[1:]:
            assert any(text[at : at + 4] == list(wrong) for at in range(len(text)))
            assert list(wrong) != answer


@pytest.mark.parametrize("length", [300, 301, 302, 303, 1024])
def test_key_value_asks_for_the_value_of_a_key_that_stands_once(length, materials):
    colon, comma = materials.tokens.ids(":")[0], materials.tokens.ids(",")[0]
    for _, sample in samples("key_value", materials, length):
        *text, key, colon_asked = sample.ids
        assert colon_asked == colon
        first = text.index(colon) - 1
        assert first < 4  # what does not make a whole pair stands first
        pairs = {}
        for at in range(first, len(text), 4):
            name, between, value, after = text[at : at + 4]
            assert (between, after) == (colon, comma)
            assert name not in pairs
            pairs[name] = value
        assert sample.candidates[0] == (pairs[key],)
        assert {each for (each,) in sample.candidates[1:]} <= set(pairs.values()) - {pairs[key]}


def test_rows_have_the_schema_of_kvpress(materials):
    fields = {"context", "question", "answer_prefix", "answer", "max_new_tokens", "task"}
    for name in GENERATORS:
        place = Place(length=LENGTH, depth=0.5, seed=1, trial=0)
        row = generator(name, materials).sample(place, materials.tokens).row()
        assert set(row) == fields | {"distractors", "depth"}
        assert row["task"] == name
        json.dumps(row)


def test_what_cannot_be_made_is_told(materials, tmp_path):
    with pytest.raises(RopewalkError, match="task nothing: expected one of needle, passkey"):
        generator("nothing", materials)
    bare = Materials(tokens=materials.tokens, texts=["One sentence only."])
    with pytest.raises(RopewalkError, match="expected at least 20; give a longer --text"):
        generator("needle", bare)
    with pytest.raises(RopewalkError, match="give --questions FILE"):
        generator("qa", bare)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"document": "a", "question": "b"}\n', "utf-8")
    with pytest.raises(RopewalkError, match="line 1: expected the texts document, question, answ"):
        read_questions(bad)
    bad.write_text("no json", "utf-8")
    with pytest.raises(RopewalkError, match="expected JSON lines"):
        read_questions(bad)


def test_bos_is_there_once_or_not_at_all():
    tokenizer = demo()
    begin = tokenizer.bos_token_id
    assert Tokens.of(tokenizer, "auto").opening == ()  # this tokenizer adds none itself
    assert Tokens.of(tokenizer, "always").opening == (begin,)
    assert Tokens.of(tokenizer, "never").opening == ()
    with pytest.raises(RopewalkError, match="bos sometimes: expected auto, always, never"):
        Tokens.of(tokenizer, "sometimes")
    assert demo_model().is_dir()


def test_letters_that_spell_a_special_token_are_text():
    tokens = Tokens.of(demo(), "always")
    ids = tokens.ids("a <|endoftext|> b")
    assert tokens.tokenizer.bos_token_id not in ids
    assert tokens.text(ids) == "a <|endoftext|> b"
