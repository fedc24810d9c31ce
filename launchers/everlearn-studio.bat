@echo off
rem Windows: double-click. The first start makes .venv beside this folder and installs into it.
setlocal
cd /d "%~dp0.."
if not defined PYTHON set PYTHON=py -3
if not defined TORCH set TORCH=torch==2.13.0
if exist .venv\Scripts\everlearn.exe (
  .venv\Scripts\python -c "import gradio" 2>nul && goto start
)
%PYTHON% -c "import sys; sys.exit(sys.version_info < (3, 11) and 'everlearn needs Python 3.11 or newer; set PYTHON to one.')" || goto failed
if not exist .venv\Scripts\python.exe %PYTHON% -m venv .venv || goto failed
echo Installing (some minutes, once) ...
.venv\Scripts\python -m pip install --quiet --constraint constraints.txt %TORCH% || goto failed
.venv\Scripts\python -m pip install --quiet --constraint constraints.txt --editable .[studio] || goto failed
:start
.venv\Scripts\everlearn studio %*
if errorlevel 1 goto failed
exit /b 0
:failed
echo That did not work; the message above says why.
pause
exit /b 1
