"""The Modelfile says what the API is told: read back by Ollama's grammar, rendered by Go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ollama_export.modelfile import modelfile
from tests.ollama_server.go_template import GoRenderer
from tests.support.modelfile_grammar import GrammarError, create_request, parse

# What Ollama's parser stumbles over, and what people write.
NASTY = st.text(st.sampled_from('"""\n\n\r\t \'\\{}#.a林。FROM_\u3000\u00a0\u200d\ufeff\x00\x0b🙂👨'), max_size=30)
SAYABLE = st.text(st.sampled_from("\n\t '\"\\{}#.a林。SYSTEM 🙂"), max_size=40)
CHATML = (
    '{{ if .System }}{{ "<|im_start|>system\\n" }}{{ .System }}{{ "<|im_end|>\\n" }}'
    '{{ else }}{{ "no .System" }}{{ end }}'
    '{{ range .Messages }}{{ if eq .Role "user" }}{{ "<|im_start|>user\\n" }}{{ .Content }}{{ if $.System }}!{{ end }}'
    '{{ "<|im_end|>\\n" }}{{ end }}{{ end }}{{ "<|im_start|>assistant\\n" }}'
)
USER = {"role": "user", "content": "你好"}


@pytest.fixture(scope="module")
def go() -> Iterator[GoRenderer]:
    with GoRenderer() as renderer:
        yield renderer


def test_a_whole_modelfile_looks_like_this() -> None:
    written = modelfile(
        "zzhua.gguf",
        template="{{ .System }}\n{{ .Prompt }}",
        system='你是林栀。\n说话"温柔"。',
        parameters={"temperature": 0.8, "num_ctx": 2048, "use_mmap": True, "stop": ["<|im_end|>", 'a"b']},
    )
    assert written.notes == ()
    assert written.text == (
        "FROM ./zzhua.gguf\n"
        'TEMPLATE """{{ .System }}\n{{ .Prompt }}"""\n'
        'SYSTEM """你是林栀。\n说话"温柔"。"""\n'
        "PARAMETER temperature 0.8\n"
        "PARAMETER num_ctx 2048\n"
        "PARAMETER use_mmap true\n"
        'PARAMETER stop "<|im_end|>"\n'
        'PARAMETER stop """a"b"""\n'
    )


def test_what_is_not_given_is_not_written() -> None:
    assert modelfile("a b.gguf", system="").text == "FROM ./a b.gguf\n"


@given(system=SAYABLE, stops=st.lists(st.text(st.sampled_from(" <|im_end|>\"'林"), max_size=12)), rate=st.floats(0, 2))
def test_what_the_grammar_can_say_is_read_back_identically(system: str, stops: list[str], rate: float) -> None:
    parameters = {"stop": stops, "temperature": rate, "top_k": 40}
    written = modelfile("林栀.gguf", template=CHATML, system=system, parameters=parameters)
    assume(not written.notes)
    request = create_request(written.text)
    assert request.get("system", "") == system
    assert (request["from"], request["template"]) == ("./林栀.gguf", CHATML)
    assert request["parameters"] == {**({"stop": stops} if stops else {}), "temperature": rate, "top_k": 40}


@given(system=NASTY, template=st.booleans())
def test_no_system_prompt_can_break_the_file_or_change_unnoticed(system: str, template: bool) -> None:
    written = modelfile("m.gguf", template=CHATML if template else None, system=system, parameters={"seed": 1})
    commands = parse(written.text)
    read = dict(commands).get("system", "")
    assert [name for name, _ in commands if name not in ("system", "template")] == ["from", "seed"]
    if not written.notes:
        assert read == system
    elif template:
        assert written.notes[0][0] == "note.modelfile.system_in_template" and not read
    else:
        assert written.notes[0][0] == "note.modelfile.system_changed" and written.notes[0][1]["characters"]


@settings(deadline=None)
@given(system=NASTY)
def test_a_system_prompt_said_through_the_template_renders_the_same(go: GoRenderer, system: str) -> None:
    assume(system)
    written = modelfile("m.gguf", template=CHATML, system=system)
    request = create_request(written.text)
    own = [{"role": "system", "content": "own"}]
    served = [{"role": "system", "content": request["system"]}] if "system" in request else []
    assert go.render(request["template"], [*served, USER]) == go.render(
        CHATML, [{"role": "system", "content": system}, USER]
    )
    # A system prompt in the request replaces it, as it replaces a SYSTEM.
    assert go.render(request["template"], [*own, USER]) == go.render(CHATML, [*own, USER])


@settings(deadline=None)
@given(before=NASTY, after=NASTY)
def test_a_template_of_any_constants_renders_the_same(go: GoRenderer, before: str, after: str) -> None:
    assume("{{" not in before + after and not before.endswith("{") and not after.endswith("{"))
    template = f"{before}{{{{- range .Messages -}}}}{after}{{{{ .Content }}}}{{{{ end }}}}{after}"
    read = create_request(modelfile("m.gguf", template=template).text)["template"]
    assert go.render(read, [USER]) == go.render(template, [USER])


def test_characters_that_the_parser_drops_survive_in_the_template(go: GoRenderer) -> None:
    written = modelfile("m.gguf", template=CHATML, system='　　你是"""\n林栀 👨\u200d👩\u200d👧')
    assert [key for key, _ in written.notes] == ["note.modelfile.system_in_template"]
    assert written.notes[0][1]["characters"] == "U+200D U+3000"
    rendered = go.render(create_request(written.text)["template"], [USER])
    assert '　　你是"""\n林栀 👨\u200d👩\u200d👧<|im_end|>' in rendered


def test_without_a_template_the_nearest_system_prompt_is_written_and_noted() -> None:
    written = modelfile("m.gguf", system='你\u3000好\u200d"""\n再见')
    assert create_request(written.text)["system"] == "你 好'''\n再见"
    assert [key for key, _ in written.notes] == ["note.modelfile.system_changed"]


def test_a_legacy_template_would_repeat_the_prompt_at_every_turn_so_it_is_left_alone() -> None:
    written = modelfile("m.gguf", template="{{ .System }} {{ .Prompt }}", system="你\u3000好")
    assert create_request(written.text)["template"] == "{{ .System }} {{ .Prompt }}"
    assert [key for key, _ in written.notes] == ["note.modelfile.system_changed"]


@pytest.mark.parametrize("gguf", ["", "../m.gguf", "a\\m.gguf", "m.gguf ", "m\n.gguf", "m\u3000.gguf"])
def test_a_file_name_that_would_be_read_otherwise_is_refused(gguf: str) -> None:
    with pytest.raises(ValueError):
        modelfile(gguf)


@pytest.mark.parametrize("parameters", [{"stop": "a\nb"}, {"stop": ["\u200d"]}, {"top k": 1}])
def test_a_parameter_that_cannot_be_said_is_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        modelfile("m.gguf", parameters=parameters)


@pytest.mark.parametrize("text", ["", "SYSTEM x", 'FROM x\nSYSTEM """a', "FROM x\nNONSENSE y", "FROM"])
def test_the_grammar_itself_refuses_what_ollama_refuses(text: str) -> None:
    with pytest.raises(GrammarError):
        parse(text)


def test_the_grammar_itself_reads_what_ollama_reads() -> None:
    text = '# c\nfrom ./m\nSYSTEM a"""\nsystem """x""" y\n"""  \nPARAMETER stop  \' <a> \'\nTEMPLATE " p "\n'
    assert parse(text) == [("from", "./m"), ("system", 'a"""'), ("system", 'x""" y\n'), ("stop", "' <a> '"),
                           ("template", " p ")]  # fmt: skip
