#!/usr/bin/env bash
# Finds a Python and starts `python -m wizard.entries`, which makes .venv and knows every entry; quick_start.bat does
# the same on Windows. Written for bash 3.2, which macOS still ships.
set -euo pipefail

script=${BASH_SOURCE[0]}
case $script in
  */*) ;;
  *) script=./$script ;;
esac
# What the program shows as a command is typed as this was.
export TRAIN_TO_OLLAMA_SCRIPT=$script
while [ -L "$script" ]; do
  target=$(readlink "$script")
  case $target in
    /*) script=$target ;;
    *) script=$(dirname "$script")/$target ;;
  esac
done
here=$(CDPATH='' cd -P "$(dirname "$script")" && pwd)

fits() { # interpreter…: is it Python 3.11 to 3.13?
  "$@" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_own() { # the interpreter of an environment that was made whole: sets the array python
  local stamp
  if [ -n "${TRAIN_TO_OLLAMA_PYTHON:-}" ]; then
    python=("$TRAIN_TO_OLLAMA_PYTHON")
    return 0
  fi
  python=("$here/.venv/bin/python")
  if [ -e "$here/.venv/Scripts/python.exe" ]; then python=("$here/.venv/Scripts/python.exe"); fi
  for stamp in "$here"/.venv/[Ll]ib/python3*/site-packages/quick_start.run "$here"/.venv/[Ll]ib/site-packages/quick_start.run; do
    if [ -f "$stamp" ] && [ ! -e "$here/.venv/unfinished" ] && [ -x "${python[0]}" ]; then
      fits "${python[@]}" -S
      return
    fi
  done
  return 1
}

find_python() { # sets the array python; one that can't make environments only where there is no other
  local candidate candidates lame=''
  candidates=(python3.13 python3.12 python3.11 python3 python)
  # Whoever has activated an environment means its Python.
  if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then candidates=(python "${candidates[@]}"); fi
  if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON" "${candidates[@]}"); fi
  for candidate in "${candidates[@]}" py; do
    python=("$candidate")
    if [ "$candidate" = py ]; then python=(py -3); fi
    if ! fits "${python[@]}"; then
      if [ "$candidate" = "${PYTHON:-}" ]; then export TRAIN_TO_OLLAMA_UNFIT_PYTHON=$PYTHON; fi
    elif "${python[@]}" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      return 0
    elif [ -z "$lame" ]; then
      lame=$candidate
    fi
  done
  python=("$lame")
  if [ "$lame" = py ]; then python=(py -3); fi
  [ -n "$lame" ]
}

say_what_to_install() { # in Chinese, unless --lang, TRAIN_TO_OLLAMA_LANG or the locale names another language
  local lang=${TRAIN_TO_OLLAMA_LANG:-} previous= argument
  for argument in "$@"; do
    case $previous/$argument in
      --lang/*) lang=$argument ;;
      */--lang=*) lang=${argument#--lang=} ;;
    esac
    previous=$argument
  done
  if [ -z "$lang" ]; then lang=${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}; fi
  case $lang in
    '' | C | C.* | POSIX | zh*) lang=zh ;;
    *) lang=en ;;
  esac
  cat "$here/wizard/texts/no_python.$lang.txt" >&2
}

if ! find_own && ! find_python; then
  say_what_to_install "$@"
  exit 2
fi
cd "$here"
exec "${python[@]}" -m wizard.entries "$@"
