"""A kubectl that answers from a folder: what `tests.support.fakes.fake_kubectl` puts there. Run as a program, alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

VALUED = {"--namespace", "-l", "-o", "-c", "-f"}
VOLUME = "/volume"


def main(folder: Path, words: list[str]) -> int:
    with (folder / "calls").open("a", encoding="utf-8") as calls:
        calls.write(json.dumps(words) + "\n")
    command, behind = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    (verb, *names), options = parsed(command)
    told: dict[str, Any] = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    match verb:
        case "get" if "--watch" in options:
            return watch(folder, told, names[1])
        case "get":
            return said(*got(told, names, options))
        case "logs":
            return logs(told, f"{names[0]}/{options.get('-c', '')}")
        case "create":
            (folder / "created.json").write_text(sys.stdin.read(), encoding="utf-8")
            return 0
        case "exec":
            return execute(folder, told, behind)
        case _:
            return said("", told["refusing"].get(verb, ""))


def parsed(words: list[str]) -> tuple[list[str], dict[str, str]]:
    options: dict[str, str] = {}
    names: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in VALUED:
            options[word] = next(rest)
        elif word.startswith("-"):
            options[word] = ""
        else:
            names.append(word)
    return names, options


def said(text: str, error: str) -> int:
    sys.stdout.write(text)
    return refused(error) if error else 0


def refused(text: str) -> int:
    sys.stderr.write(text + "\n")
    return 1


def got(told: dict[str, Any], names: list[str], options: dict[str, str]) -> tuple[str, str]:
    """The standard output and standard error of `get`."""
    plural = names[0].partition(".")[0]
    if plural in told["denied"]:
        return "", f'Error from server (Forbidden): {plural} is forbidden: User "u" cannot list resource'
    everywhere = "--all-namespaces" in options
    namespace = options.get("--namespace", told["namespace"])
    labels = dict(pair.split("=", 1) for pair in options["-l"].split(",")) if "-l" in options else {}
    found = [
        one
        for one in told["objects"].get(plural, [])
        if everywhere or one["metadata"].get("namespace", namespace) == namespace
        if labels.items() <= one["metadata"].get("labels", {}).items()
    ]
    if len(names) == 1:
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": found}), ""
    one = next((one for one in found if one["metadata"]["name"] == names[1]), None)
    if one is None:
        return "", f'Error from server (NotFound): {plural} "{names[1]}" not found'
    return json.dumps(one, indent=4) + "\n", ""


def watch(folder: Path, told: dict[str, Any], name: str) -> int:
    count = folder / "watches"
    opened = int(count.read_text()) if count.exists() else 0
    count.write_text(str(opened + 1))
    if opened >= len(told["watches"]):
        return refused(f'Error from server (NotFound): federatedlearnings "{name}" not found')
    for event in told["watches"][opened]:
        sys.stdout.write(json.dumps(event) + "\n")
    return 0


def logs(told: dict[str, Any], name: str) -> int:
    text = told["logs"].get(name)
    return said(text or "", "" if text is not None else f'Error from server (NotFound): pods "{name}" not found')


def execute(folder: Path, told: dict[str, Any], behind: list[str]) -> int:
    """Run the pod's command on the folder that represents its volume; break the stream as configured."""
    words = [word.replace(VOLUME, told["volume"], 1) if word.startswith(VOLUME) else word for word in behind[1:]]
    done = subprocess.run([sys.executable, *words], capture_output=True, check=False)
    out = done.stdout
    breaks = folder / "breaks"
    left = json.loads(breaks.read_text()) if breaks.exists() else []
    if left and words[-2].endswith(".safetensors"):
        breaks.write_text(json.dumps(left[1:]))
        if left[0] < 0:
            signal.pause()
        os.write(1, out[: left[0]])
        return refused("error: unable to upgrade connection: the line was cut")
    sys.stdout.buffer.write(out)
    sys.stderr.write(done.stderr.decode())
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
