#!/usr/bin/env bash
# Makes .venv beside this script and shows the numbered menu. Written for bash 3.2, which macOS still ships.
set -euo pipefail

script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do
  target=$(readlink "$script")
  case $target in
    /*) script=$target ;;
    *) script=$(dirname "$script")/$target ;;
  esac
done
here=$(CDPATH='' cd -P "$(dirname "$script")" && pwd)

# --- words: Chinese, unless --lang, TRAIN_TO_OLLAMA_LANG or the locale names another language

lang=${TRAIN_TO_OLLAMA_LANG:-}
previous=
for argument in "$@"; do
  case $previous/$argument in
    --lang/*) lang=$argument ;;
    */--lang=*) lang=${argument#--lang=} ;;
  esac
  previous=$argument
done
if [ -n "$lang" ]; then
  export TRAIN_TO_OLLAMA_LANG=$lang
else
  lang=${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}
fi
case $lang in
  '' | C | C.* | POSIX | zh*) lang=zh ;;
  *) lang=en ;;
esac

say() { # Chinese, English
  if [ "$lang" = zh ]; then printf '%s\n' "$1"; else printf '%s\n' "$2"; fi
}

fail() { # exit code, Chinese, English
  say "❌ $2" "❌ $3" >&2
  exit "$1"
}

usage() {
  say "用法：
  ./quick_start.sh                  显示菜单
  ./quick_start.sh demo             装好环境，用自带的小模型完整演示一遍
  ./quick_start.sh test [参数…]     装好环境，跑全部测试（参数原样交给 pytest）
  ./quick_start.sh setup            只装好环境
  ./quick_start.sh 1 [参数…]        训练新模型
  ./quick_start.sh 3 [名称] [参数…] 继续训练已有模型
  ./quick_start.sh 6                已训练的模型
  ./quick_start.sh 7 [名称]         和模型聊聊
  ./quick_start.sh 9                查看状态
参数原样交给 train_to_ollama.py，相对路径从项目文件夹算起；界面语言用 --lang zh|en。" \
    "Usage:
  ./quick_start.sh                     show the menu
  ./quick_start.sh demo                install everything and show the whole way with the small built-in model
  ./quick_start.sh test [ARGS…]        install everything and run all tests (ARGS go to pytest)
  ./quick_start.sh setup               only install
  ./quick_start.sh 1 [ARGS…]           train a new model
  ./quick_start.sh 3 [NAME] [ARGS…]    continue training a model
  ./quick_start.sh 6                   trained models
  ./quick_start.sh 7 [NAME]            talk to a model
  ./quick_start.sh 9                   status
ARGS go to train_to_ollama.py as they are, relative paths start at the project folder; --lang zh|en for the language."
}

# --- the environment

fits() { # interpreter…: is it Python 3.11 to 3.13?
  "$@" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() { # sets the array python
  local candidate candidates package lame=''
  candidates=(python3.13 python3.12 python3.11 python3 python)
  # Whoever has activated an environment means its Python.
  if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then candidates=(python "${candidates[@]}"); fi
  if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON" "${candidates[@]}"); fi
  for candidate in "${candidates[@]}" py; do
    python=("$candidate")
    if [ "$candidate" = py ]; then python=(py -3); fi
    if ! fits "${python[@]}"; then
      if [ "$candidate" = "${PYTHON:-}" ]; then
        say "PYTHON=$PYTHON 不是能用的 Python 3.11～3.13，改找别的。" \
          "PYTHON=$PYTHON is no working Python 3.11 to 3.13; looking for another one." >&2
      fi
    elif "${python[@]}" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      return
    else
      lame=$candidate
    fi
  done
  if [ -n "$lame" ]; then
    package=$("$lame" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    fail 2 "找到了 $lame，但它缺少 venv/ensurepip，建不了虚拟环境。Debian/Ubuntu 请先运行：
   sudo apt install $package
然后重试。" "Found $lame, but it lacks venv/ensurepip and can't make an environment. On Debian or Ubuntu first run:
   sudo apt install $package
and try again."
  fi
  fail 2 "没有找到 Python 3.11、3.12 或 3.13。请先安装其中一个；装在别处的话，用 PYTHON=/路径/python3 指明，然后重试。" \
    "Found no Python 3.11, 3.12 or 3.13. Install one, or name it with PYTHON=/path/to/python3, and try again."
}

make_venv() { # with the torch that the chosen Python has, if it is new enough
  local found age='' version='' folder=''
  find_python
  say "🔧 用 $("${python[@]}" -V 2>&1) 建立虚拟环境 .venv ……" "🔧 Making .venv with $("${python[@]}" -V 2>&1) ..." >&2
  "${python[@]}" -m venv --clear "$here/.venv" || fail 2 "虚拟环境没有建成，原因见上。" "The environment could not be made; the reason stands above."
  find_venv_python
  found=$("${python[@]}" -c '
import pathlib, torch
print("old" if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6) else "fits")
print(torch.__version__)
print(pathlib.Path(torch.__file__).resolve().parent.parent)' 2>/dev/null) || return 0
  { read -r age && read -r version && IFS= read -r folder; } <<<"$found"
  if [ "$age" = old ]; then
    say "已有的 torch $version 太旧（需要 2.6 以上），在 .venv 里另装一个，原来的不动。" \
      "The torch $version that is there is too old (2.6 or newer is needed): .venv gets its own, yours is left alone." >&2
    return
  fi
  say "沿用已有的 torch $version。" "Using the torch $version that is there." >&2
  # Not --system-site-packages: it would not see the packages of a Python that is itself a virtual environment.
  "$venv_python" - "$folder" <<'END'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "chosen_python.pth").write_text(sys.argv[1] + "\n", encoding="utf-8")
END
}

write_constraints() { # the pins, but a torch from outside .venv stays as it is
  "$venv_python" - "$here" <<'END'
import importlib.metadata, pathlib, sys
house = pathlib.Path(sys.argv[1])
lines = (house / "constraints.txt").read_text(encoding="utf-8").splitlines()
for torch in importlib.metadata.distributions(name="torch"):
    if not pathlib.Path(torch.locate_file("")).is_relative_to(sys.prefix):
        lines = [line for line in lines if not line.startswith("torch==")] + [f"torch=={torch.version}"]
(house / ".venv" / "constraints.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
END
}

find_venv_python() {
  venv_python=$here/.venv/bin/python
  if [ -e "$here/.venv/Scripts/python.exe" ]; then venv_python=$here/.venv/Scripts/python.exe; fi
}

ready() { # stamp name, wanted text: does .venv work, and was it made from these requirements?
  local folder
  find_venv_python
  # Kept among the packages: whoever loses them loses the stamp too.
  folder=$("$venv_python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null) || return 1
  stamp=$folder/quick_start.$1
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$2" ]
}

install() {
  if "$venv_python" -m pip install --no-user --disable-pip-version-check -c "$here/.venv/constraints.txt" "$@" >&2; then return; fi
  # pip itself gave up, so what is there is whole.
  rm -f "$here/.venv/unfinished"
  local variable
  for variable in HTTPS_PROXY https_proxy HTTP_PROXY http_proxy ALL_PROXY all_proxy; do
    case ${!variable:-} in
      socks* | SOCKS*)
        if "$venv_python" -c 'import socks' >/dev/null 2>&1; then continue; fi
        fail 2 "安装没有完成，原因见上。环境变量 $variable 指定了 SOCKS 代理，而 pip 不会用这种代理：请去掉它（或换成 http 代理），再运行一次会接着装；装好以后，训练时可以再用。" \
          "The installation did not finish; the reason stands above. $variable names a SOCKS proxy, which pip can't use: unset it (or name an http proxy) and run this again. Once all is installed, the program itself can use it."
        ;;
    esac
  done
  fail 2 "安装没有完成，原因见上。多半是网络：可以用 PIP_INDEX_URL（PyTorch 用 TORCH_INDEX_URL）指定镜像，再运行一次会接着装。" \
    "The installation did not finish; the reason stands above. If it is the network: name a mirror with PIP_INDEX_URL (for PyTorch TORCH_INDEX_URL) and run this again."
}

environment() { # run | test: sets venv_python
  local files text
  if [ -n "${TRAIN_TO_OLLAMA_PYTHON:-}" ]; then
    venv_python=$TRAIN_TO_OLLAMA_PYTHON
    return
  fi
  files=("$here/requirements.txt" "$here/requirements-nodeps.txt" "$here/constraints.txt")
  if [ "$1" = test ]; then files=("$here/requirements-dev.txt" "${files[@]}"); fi
  text=$(cat "${files[@]}")
  if ready "$1" "$text"; then return; fi
  trap 'exit 130' INT
  # A pip that was killed leaves half a package behind which the next one takes for whole.
  if [ -e "$here/.venv/unfinished" ] || ! fits "$venv_python" || ! "$venv_python" -m pip --version >/dev/null 2>&1; then
    make_venv
    ready "$1" "$text" || true
  fi
  say "📦 安装依赖（第一次要下载几百 MB 到几 GB，请稍等）……" "📦 Installing (the first time some hundred MB to a few GB are downloaded) ..." >&2
  rm -f "$stamp"
  : >"$here/.venv/unfinished"
  write_constraints
  if [ -n "${TORCH_INDEX_URL:-}" ] && ! "$venv_python" -c 'import torch' >/dev/null 2>&1; then
    install --no-deps --index-url "$TORCH_INDEX_URL" torch
  fi
  if [ "$1" = test ]; then install -r "$here/requirements-dev.txt"; else install -r "$here/requirements.txt"; fi
  install --no-deps -r "$here/requirements-nodeps.txt"
  printf '%s\n' "$text" >"$stamp"
  rm -f "$here/.venv/unfinished"
  trap - INT
  say "✅ 环境已就绪。" "✅ The environment is ready." >&2
}

# --- what the numbers do

choose_model() { # sets name
  local names choice number=0
  names=$("$venv_python" -m wizard.status --names)
  if [ -z "$names" ]; then fail 2 "还没有训练过的模型。先用 ./quick_start.sh 1 训练一个。" "There is no trained model yet. Train one with ./quick_start.sh 1 first."; fi
  say "选择模型：" "Which model?"
  while IFS= read -r name; do
    number=$((number + 1))
    printf '  %d) %s\n' "$number" "$name"
  done <<<"$names"
  while :; do
    if [ "$lang" = zh ]; then printf '编号（0 返回）：'; else printf 'Number (0 goes back): '; fi
    IFS= read -r choice || no_terminal
    case $choice in
      0) exit 0 ;;
      '' | *[!0-9]*) name= ;;
      *) name=$(printf '%s\n' "$names" | awk -v n="$choice" 'NR == n') ;;
    esac
    if [ -n "$name" ]; then return; fi
    say "没有这个编号，请输入 0～$number。" "There is no such number: 0 to $number, please."
  done
}

no_terminal() { # nothing more can be read: the user's Ctrl-D, or nobody there
  printf '\n'
  if [ -t 0 ]; then exit 0; fi
  say "这里需要在终端里选择；也可以直接写明：" "This needs a choice at a terminal, or say it directly:" >&2
  usage >&2
  exit 2
}

action() { # number or word, arguments…: never returns
  local word=$1 name=
  shift
  if [ "$word" = test ]; then environment test; else environment run; fi
  cd "$here"
  case $word in
    3 | 7)
      case ${1:-} in
        '' | -*) choose_model ;;
        *) name=$1 && shift ;;
      esac
      ;;
  esac
  case $word in
    1) exec "$venv_python" train_to_ollama.py "$@" ;;
    3) exec "$venv_python" train_to_ollama.py --ollama_name "$name" --continue_train "$@" ;;
    6) exec "$venv_python" train_to_ollama.py --history "$@" ;;
    7)
      if ! command -v ollama >/dev/null 2>&1; then
        fail 5 "没有找到 ollama 命令。装好 Ollama 后再试；模型还没登记的话：python train_to_ollama.py --ollama_name $name --register_only" \
          "There is no ollama command. Install Ollama and try again; if the model isn't registered yet: python train_to_ollama.py --ollama_name $name --register_only"
      fi
      exec ollama run "$name" "$@"
      ;;
    9) exec "$venv_python" -m wizard.status "$@" ;;
    demo) exec "$venv_python" -m wizard.demo "$@" ;;
    setup) exit 0 ;;
    test)
      if [ $# -gt 0 ]; then exec "$venv_python" -m pytest "$@"; fi
      "$venv_python" -m ruff check .
      "$venv_python" -m mypy
      # One process for each core, and one thread for each process: threads that wait for a busy core spin, and a
      # training takes several times as long.
      export OMP_NUM_THREADS=1
      exec "$venv_python" -m pytest -n auto --dist loadfile
      ;;
  esac
}

menu() {
  local choice status
  while :; do
    say "
🦙 Train to Ollama
  1) 🆕 训练新模型
  3) 🔄 继续训练已有模型
  6) 📋 已训练的模型
  7) 💬 和模型聊聊
  9) 🔍 查看状态
  0) 👋 退出" "
🦙 Train to Ollama
  1) 🆕 Train a new model
  3) 🔄 Continue training a model
  6) 📋 Trained models
  7) 💬 Talk to a model
  9) 🔍 Status
  0) 👋 Exit"
    trap 'printf "\n"; exit 130' INT
    if [ "$lang" = zh ]; then printf '请选择：'; else printf 'Your choice: '; fi
    IFS= read -r choice || no_terminal
    case $choice in
      0) exit 0 ;;
      1 | 3 | 6 | 7 | 9)
        # The chosen program hears Ctrl-C itself; -e has to hold inside, so no "action || status=".
        trap : INT
        set +e
        (
          set -e
          action "$choice"
        )
        status=$?
        set -e
        if [ "$status" -eq 130 ]; then exit 130; fi
        ;;
      *) say "没有这个选项，请输入 1、3、6、7、9 或 0。" "There is no such choice: 1, 3, 6, 7, 9 or 0, please." ;;
    esac
  done
}

case ${1:-} in
  --lang=*) shift ;;
  --lang) shift $(($# > 1 ? 2 : 1)) ;;
esac
case ${1:-} in
  '') menu ;;
  0) exit 0 ;;
  1 | 3 | 6 | 7 | 9 | demo | test | setup) action "$@" ;;
  -h | --help | help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
