"""What a person types and sees: prompts, progress where there is no terminal, completion."""

import io
import json

import pytest

from ropewalk.cli import progress
from ropewalk.cli.main import main
from ropewalk.cli.prompts import chat_ids, read_prompt
from ropewalk.core.errors import RopewalkError


def test_a_prompt_comes_from_the_line_a_file_or_the_input(tmp_path, monkeypatch):
    file = tmp_path / "book.txt"
    file.write_text("from a file")
    assert read_prompt("typed", None) == "typed"
    assert read_prompt(None, file) == "from a file"
    monkeypatch.setattr("sys.stdin", io.StringIO("from the input"))
    assert read_prompt("-", None) == "from the input"
    monkeypatch.setattr("sys.stdin", io.StringIO("once more"))
    assert read_prompt(None, type(file)("-")) == "once more"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected one of --prompt TEXT and --prompt-file FILE"),
        (["--prompt", "a", "--prompt-file", "b"], "expected one of"),
        (["--prompt-file", "nowhere.txt"], "--prompt-file nowhere.txt: No such file"),
        (["--prompt", ""], "--prompt: nothing in it"),
        (["--chat", "--prompt", "a"], "--chat: the tokenizer has no chat template"),
    ],
)
def test_a_prompt_that_cannot_be_is_one_line(arguments, told, capsys):
    assert main(["generate", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_file_is_continued_as_its_text_is(tmp_path, capsys):
    (tmp_path / "p.txt").write_text("Call me")
    found = []
    for prompt in (["--prompt", "Call me"], ["--prompt-file", str(tmp_path / "p.txt")]):
        assert main(["generate", *prompt, "--max-new-tokens", "4", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]


def test_a_chat_is_the_models_own_template():
    from ropewalk.data import demo_model
    from ropewalk.integrations.loading import load_tokenizer

    tokenizer = load_tokenizer(demo_model())
    tokenizer.chat_template = (
        "<{% for m in messages %}{{ m.content }}{% endfor %}>"
        "{% if add_generation_prompt %}A:{% endif %}"
    )
    ids = chat_ids(tokenizer, "hello")
    assert tokenizer.decode(ids[0]) == tokenizer.decode(tokenizer("<hello>A:").input_ids)


def test_where_there_is_no_terminal_a_line_tells_the_share(monkeypatch, capsys):
    now = iter([0.0, 3.0, 12.0, 13.0, 25.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    lines = progress.Lines()
    for share in (0.1, 0.4, 0.5, 0.9):
        lines.tell("yarn", share)
    assert capsys.readouterr().err.splitlines() == [
        "yarn: 40% of the run after 12 s",
        "yarn: 90% of the run after 25 s",
    ]


def test_the_shell_can_complete(monkeypatch, capsys):
    monkeypatch.setenv("_ROPEWALK_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ropewalk re")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert "report" in capsys.readouterr().out.split()


def test_an_unreadable_prompt_names_the_file(tmp_path):
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RopewalkError, match="it is not UTF-8"):
        read_prompt(None, tmp_path / "b")
