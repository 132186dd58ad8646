/* In the place of a Windows Python: answers what quick_start.bat asks of one, and tells how it was called, a line each.
   FAKE_VERSIONS_NAME holds those that a program NAME has ("3.12 3.9"; the launcher py takes -3.N, others have the
   first), FAKE_LAME is set where venv is missing, FAKE_CODE is the exit code of a start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

static void tell(const char *key, const wchar_t *value) {
    char text[4096];
    WideCharToMultiByte(CP_UTF8, 0, value, -1, text, sizeof text, NULL, NULL);
    printf("%s=%s\n", key, text);
}

static const wchar_t *variable(const wchar_t *name) {
    static wchar_t values[8][1024];
    static int next;
    wchar_t *value = values[next++ % 8];
    if (!GetEnvironmentVariableW(name, value, 1024)) value[0] = 0;
    return value;
}

int wmain(int count, wchar_t **words) {
    wchar_t path[1024], name[64], key[96], version[64] = L"";
    GetModuleFileNameW(NULL, path, 1024);
    wcscpy(name, wcsrchr(path, L'\\') + 1);
    *wcsrchr(name, L'.') = 0;
    swprintf(key, 96, L"FAKE_VERSIONS_%ls", name);
    wchar_t versions[1024], *rest = NULL;
    wcscpy(versions, variable(key));
    int at = 1, is_py = !wcscmp(name, L"py") && count > 1 && !wcsncmp(words[1], L"-3.", 3);
    for (wchar_t *one = wcstok(versions, L" ", &rest); one; one = wcstok(NULL, L" ", &rest))
        if (!version[0] && (!is_py || !wcscmp(one, words[1] + 1))) wcscpy(version, one);
    at += is_py;
    if (!version[0]) return 103;
    if (count == at + 2 && !wcscmp(words[at], L"-c")) {
        int minor = _wtoi(version + 2);
        return wcsstr(words[at + 1], L"ensurepip") ? variable(L"FAKE_LAME")[0] != 0 : minor < 11 || minor > 13;
    }
    GetCurrentDirectoryW(1024, path);
    tell("program", name);
    tell("version", version);
    tell("folder", path);
    tell("script", variable(L"TRAIN_TO_OLLAMA_SCRIPT"));
    tell("unfit", variable(L"TRAIN_TO_OLLAMA_UNFIT_PYTHON"));
    for (; at < count; at++) tell("word", words[at]);
    return _wtoi(variable(L"FAKE_CODE"));
}
