"""``voltgw completion bash|zsh|fish``: what a shell reads to complete commands, options and their values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Final

from voltgw.cli.helps import Help, Option, is_file, told

#: Where each shell looks for it.
PLACES: Final[Mapping[str, str]] = {
    "bash": "/usr/share/bash-completion/completions/voltgw", "zsh": "/usr/share/zsh/vendor-completions/_voltgw",
    "fish": "/usr/share/fish/vendor_completions.d/voltgw.fish"}


def run(arguments: list[str]) -> int:
    """Print what the shell that `arguments` name reads; returns the exit status."""
    from voltgw.cli.main import COMMANDS  # it imports this module by name, and only this function needs it

    options = _parser().parse_args(arguments)
    helps = {name: (command.doc.partition(": ")[2] or command.doc, told(import_module(command.module).run))
             for name, command in COMMANDS.items()}
    print("\n".join(_WRITERS[options.shell](helps)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voltgw completion", description="Print what a shell reads to complete commands, options and their values: "
        'eval "$(voltgw completion bash)", or the same for all users as ' + ", ".join(PLACES.values()) + ".")
    parser.add_argument("shell", choices=tuple(PLACES), help="for which shell")
    return parser


def _flat(helps: Mapping[str, tuple[str, Help]]) -> Iterator[tuple[tuple[str, ...], str, Help]]:
    """Every command and action with its help."""
    for name, (doc, told_of) in helps.items():
        yield (name,), doc, told_of
        for action, (what, inner) in told_of.actions.items():
            yield (name, action), what, inner


def _valued(told_of: Help) -> list[Option]:
    return [option for option in told_of.options if option.value]


# -- bash -------------------------------------------------------------------------------------------------------------

def _bash(helps: Mapping[str, tuple[str, Help]]) -> Iterator[str]:
    yield "# completion of voltgw for bash; made by `voltgw completion bash`"
    yield "_voltgw() {"
    yield '    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} way="${COMP_WORDS[1]-}" words="" files=""'
    yield "    COMPREPLY=()"
    yield "    if [ \"$COMP_CWORD\" -eq 1 ]; then"
    yield f"        COMPREPLY=($(compgen -W '{' '.join(helps)} --help --version' -- \"$cur\"))"
    yield "        return"
    yield "    fi"
    actions = [" ".join(way) for way, _, _ in _flat(helps) if len(way) == 2]
    if actions:
        yield '    case "${COMP_WORDS[1]} ${COMP_WORDS[2]-}" in'
        yield f"        {'|'.join(each.replace(' ', chr(92) + ' ') for each in actions)})"
        yield '            [ "$COMP_CWORD" -gt 2 ] && way="${COMP_WORDS[1]} ${COMP_WORDS[2]}" ;;'
        yield "    esac"
    yield '    case "$way" in'
    for way, _, told_of in _flat(helps):
        yield f"        '{' '.join(way)}')"
        for option in _valued(told_of):
            names = "|".join(option.names)
            if option.choices:
                words = " ".join(option.choices)
                yield f'            case "$prev" in {names}) COMPREPLY=($(compgen -W \'{words}\' -- "$cur")); return ;; esac'
            elif is_file(option.value):
                yield f'            case "$prev" in {names}) COMPREPLY=($(compgen -f -- "$cur")); return ;; esac'
            else:
                yield f'            case "$prev" in {names}) return ;; esac'
        named = [name for option in told_of.options for name in option.names]
        yield f"            words='{' '.join((*told_of.actions, *told_of.words, *named))}'"
        if told_of.takes_files:
            yield "            files=yes"
        yield "            ;;"
    yield "    esac"
    yield '    [ -n "$files" ] && [ "${cur#-}" = "$cur" ] && COMPREPLY=($(compgen -f -- "$cur"))'
    yield '    COMPREPLY+=($(compgen -W "$words" -- "$cur"))'
    yield "}"
    yield "complete -o filenames -F _voltgw voltgw"


# -- zsh --------------------------------------------------------------------------------------------------------------

def _zsh(helps: Mapping[str, tuple[str, Help]]) -> Iterator[str]:
    yield "#compdef voltgw"
    yield "# completion of voltgw for zsh; made by `voltgw completion zsh`"
    yield "_voltgw() {"
    yield "    local -a commands"
    yield "    commands=("
    yield from (f"        {_quoted(f'{name}:{doc}')}" for name, (doc, _) in helps.items())
    yield "    )"
    yield "    if (( CURRENT == 2 )); then"
    yield "        _describe -t commands 'command' commands"
    yield "        return"
    yield "    fi"
    yield '    local way="${words[2]}"'
    yield "    (( CURRENT-- )); shift words"
    yield "    case \"$way\" in"
    for name, (_, told_of) in helps.items():
        yield f"        {name})"
        if told_of.actions:
            yield "            if (( CURRENT > 2 )); then"
            yield '                way="$way ${words[2]}"'
            yield "                (( CURRENT-- )); shift words"
            yield '                case "$way" in'
            for action, (_, inner) in told_of.actions.items():
                yield f"                    '{name} {action}')"
                yield from (f"                        {line}" for line in _arguments(inner))
                yield "                        ;;"
            yield "                esac"
            yield "                return"
            yield "            fi"
        yield from (f"            {line}" for line in _arguments(told_of))
        yield "            ;;"
    yield "    esac"
    yield "}"
    yield "if [ \"$funcstack[1]\" = _voltgw ]; then _voltgw \"$@\"; else compdef _voltgw voltgw; fi"


def _arguments(told_of: Help) -> Iterator[str]:
    specs = []
    for option in told_of.options:
        value = f":{option.value}:{_zsh_values(option.value, option.choices)}" if option.value else ""
        several = "{" + ",".join(option.names) + "}" if len(option.names) > 1 else option.names[0]
        doc = re.sub(r"([\[\]:])", r"\\\1", option.doc)
        specs.append(f"{several}{_quoted(f'[{doc}]{value}')}")
    places: list[tuple[str, tuple[str, ...]]] = [(argument.name, argument.choices) for argument in told_of.arguments]
    if told_of.actions:
        places = [("action", tuple(told_of.actions))]
    for index, (name, choices) in enumerate(places):
        place = "*" if index == len(places) - 1 and not told_of.actions else str(index + 1)
        specs.append(_quoted(f"{place}:{name.replace(':', ' ')}:{_zsh_values(name, choices)}"))
    yield "_arguments -s \\"
    for spec in specs[:-1]:
        yield f"    {spec} \\"
    yield f"    {specs[-1]}"


def _zsh_values(name: str, choices: tuple[str, ...]) -> str:
    return f"({' '.join(choices)})" if choices else "_files" if is_file(name) else " "


# -- fish -------------------------------------------------------------------------------------------------------------

def _fish(helps: Mapping[str, tuple[str, Help]]) -> Iterator[str]:
    yield "# completion of voltgw for fish; made by `voltgw completion fish`"
    yield "complete -c voltgw -f"
    for name, (doc, _) in helps.items():
        yield f"complete -c voltgw -n __fish_use_subcommand -a {name} -d {_quoted(doc)}"
    for way, _, told_of in _flat(helps):
        when = _quoted(" ; and ".join(f"__fish_seen_subcommand_from {word}" for word in way))
        for option in told_of.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = "" if not option.value else " -r -F" if is_file(option.value) else " -r"
            if option.choices:
                value += f" -a {_quoted(' '.join(option.choices))}"
            yield f"complete -c voltgw -n {when} {names}{value} -d {_quoted(option.doc)}"
        for action, (doc, _) in told_of.actions.items():
            yield f"complete -c voltgw -n {when} -a {action} -d {_quoted(doc)}"
        if told_of.words:
            yield f"complete -c voltgw -n {when} -a {_quoted(' '.join(told_of.words))}"
        if told_of.takes_files:
            yield f"complete -c voltgw -n {when} -F"


def _quoted(text: str) -> str:
    """Text between single quotes, as all the shells read it (fish alone would read a backslash there)."""
    return "'" + text.replace("'", "'\\''") + "'"


_WRITERS: Final[Mapping[str, Callable[[Mapping[str, tuple[str, Help]]], Iterator[str]]]] = {
    "bash": _bash, "zsh": _zsh, "fish": _fish}
