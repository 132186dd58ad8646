@echo off
rem Finds a Python and starts "python -m wizard.entries", which makes .venv and knows every entry; quick_start.sh does
rem the same elsewhere. ASCII alone: cmd miscounts the bytes of other characters. What is said stands in wizard\texts.
setlocal EnableExtensions DisableDelayedExpansion
chcp 65001 >nul
set "TRAIN_TO_OLLAMA_SCRIPT=%~0"
if /i not "%TRAIN_TO_OLLAMA_SCRIPT:~-4%"==".bat" set "TRAIN_TO_OLLAMA_SCRIPT=%~0.bat"
set "TRAIN_TO_OLLAMA_UNFIT_PYTHON="
set "FOUND="
set "LAME="
pushd "%~dp0"
if not exist "wizard\entries\__main__.py" exit /b 2

rem --- the interpreter of an environment that was made whole
if defined TRAIN_TO_OLLAMA_PYTHON (
  set FOUND="%TRAIN_TO_OLLAMA_PYTHON%"
  goto start
)
if exist ".venv\unfinished" goto look
if exist ".venv\Lib\site-packages\quick_start.run" call :try_own ".venv\Scripts\python.exe"
if defined FOUND goto start

rem --- PYTHON first, then the newest that fits
:look
if defined PYTHON call :try "%PYTHON%"
if defined FOUND goto start
if defined PYTHON set "TRAIN_TO_OLLAMA_UNFIT_PYTHON=%PYTHON%"
for %%V in (3.13 3.12 3.11) do call :try py -%%V
call :try python
call :try python3
if not defined FOUND set FOUND=%LAME%
if defined FOUND goto start
set "WORDS=zh"
if defined TRAIN_TO_OLLAMA_LANG if /i not "%TRAIN_TO_OLLAMA_LANG:~0,2%"=="zh" set "WORDS=en"
type "wizard\texts\no_python.%WORDS%.txt" 1>&2
popd
rem a window that a double click opened would be gone before it is read
if "%~1"=="" pause
exit /b 2

:start
%FOUND% -m wizard.entries %*
set "CODE=%ERRORLEVEL%"
popd
if "%~1"=="" if not "%CODE%"=="0" pause
exit /b %CODE%

:try_own
%1 -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" >nul 2>nul
if "%ERRORLEVEL%"=="0" set FOUND=%1
exit /b 0

:try
if defined FOUND exit /b 0
%* -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" >nul 2>nul
if not "%ERRORLEVEL%"=="0" exit /b 0
%* -c "import ensurepip, venv" >nul 2>nul
if "%ERRORLEVEL%"=="0" set FOUND=%*
if not defined FOUND if not defined LAME set LAME=%*
exit /b 0
