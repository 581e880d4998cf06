"""Scripts that connect a shell's completion with `sdekit`, and their installation.

A shell passes the line up to the cursor in _TYPER_COMPLETE_ARGS, as for every program made with Typer. Typer's own
scripts cannot complete a word that contains a colon, such as `ddim:eta=`, and add a space after each word.
"""

from __future__ import annotations

import os
from pathlib import Path

from sdekit.errors import InputError

BASH = r"""
_sdekit_completion() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$' \t\n'
    [[ -n $line ]] || line="${COMP_WORDS[*]:0:COMP_CWORD+1}"
    local word=${line##*[[:space:]]} IFS=$'\n'
    COMPREPLY=($(_SDEKIT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="$line" \
        "$1" 2>/dev/null | cut -f 1))
    local prefix=${word%"${word##*[:=]}"}  # bash replaces the part of a word after its last colon or equals sign
    COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    [[ ${COMPREPLY[0]} == *[:=./] ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -o default -F _sdekit_completion sdekit
"""

ZSH = r"""
#compdef sdekit

_sdekit_completion() {
    local -a lines whole open
    local line value text
    lines=("${(@f)$(_SDEKIT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS="${(j: :)words[1,CURRENT]}" ${words[1]} 2>/dev/null)}")
    for line in $lines; do
        value=${line%%$'\t'*} text=${line#*$'\t'}
        [[ $line == *$'\t'* ]] || text=
        case $value in
            *[:=./]) open+=("${value//:/\\:}${text:+:$text}") ;;
            ?*) whole+=("${value//:/\\:}${text:+:$text}") ;;
        esac
    done
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='
    if (( $#open + $#whole == 0 )); then
        _files
        return
    fi
    (( $#whole )) && _describe -V 'values' whole
    (( $#open )) && _describe -V 'values' open -S ''
}

if [[ ${funcstack[1]} == _sdekit ]]; then
    _sdekit_completion "$@"
else
    compdef _sdekit_completion sdekit
fi
"""

FISH = r"""
function __sdekit_complete
    set -l program (commandline -opc)[1]
    set -l found (_SDEKIT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=(commandline -cp | string collect) $program 2>/dev/null | string match -v '')
    set -l option (string match --regex -- '^--[^=]*=' (commandline -ct))
    if test (count $found) -gt 0
        printf '%s\n' "$option"$found
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command sdekit --no-files --arguments '(__sdekit_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def completion_script(shell: str | None) -> str:
    """Return the completion script of a shell.

    Arguments:
        shell: bash, zsh or fish, or None for the shell that started this process.
    Returns:
        The script.
    Raises:
        InputError: If there is no script for this shell.
    """
    return SCRIPTS[_known(shell)].strip() + "\n"


def install_completion(shell: str | None) -> tuple[str, Path]:
    """Install the completion of a shell for the current user; doing it again changes nothing.

    Arguments:
        shell: bash, zsh or fish, or None for the shell that started this process.
    Returns:
        The shell, and the file that was written.
    Raises:
        InputError: If there is no script for this shell.
    """
    shell = _known(shell)
    home = Path.home()
    files = {
        "bash": home / ".bash_completions" / "sdekit.sh",
        "zsh": Path(os.environ.get("ZDOTDIR") or home) / ".zfunc" / "_sdekit",
        "fish": Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / "sdekit.fish",
    }
    file = files[shell]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(completion_script(shell), "utf-8")
    if shell == "bash":
        _add_line(home / ".bashrc", f"source '{file}'")
    if shell == "zsh":
        _add_line(file.parent.parent / ".zshrc", f"fpath+='{file.parent}'; autoload -Uz compinit; compinit")
    return shell, file


def _known(shell: str | None) -> str:
    """Return the name of a shell that has a script."""
    if shell is None:
        from shellingham import ShellDetectionFailure, detect_shell  # type: ignore[import-untyped]

        try:
            shell = detect_shell()[0]
        except ShellDetectionFailure:
            shell = Path(os.environ.get("SHELL", "")).name
    if shell not in SCRIPTS:
        raise InputError(f"there is no completion for the shell {shell!r}: name bash, zsh or fish after the option")
    return shell


def _add_line(file: Path, line: str) -> None:
    """Add a line to a text file that does not contain it."""
    text = file.read_text("utf-8") if file.exists() else ""
    if line not in text.splitlines():
        file.write_text(text + ("\n" if text and not text.endswith("\n") else "") + line + "\n", "utf-8")
