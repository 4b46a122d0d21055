"""The Dockerfile as steps that can be taken without an engine.

dockerfile-parse reads the lines; this gives them their meaning, as much of it as the Dockerfile uses.
Whatever else there is raises UnknownStepError with its line: without a step, another image would be checked.
"""

import json
import re
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import PurePosixPath

from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter, extract_key_values
from msgspec import Struct, field
from msgspec.structs import replace

_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)
_PLAIN_VARIABLE = re.compile(r"\$(?:\w+|\{\w+\})")


class UnknownStepError(Exception):
    """The Dockerfile says something that is not known here. The message has the line and the words."""


class Run(Struct, frozen=True):
    """A line for `/bin/sh -c`, with what ENV and ARG have set before it."""

    command: str
    environment: dict[str, str]
    folder: str


class Copy(Struct, frozen=True):
    """Files of the context, or of an earlier stage where `stage` names one, put at an absolute path."""

    sources: tuple[str, ...]
    target: str
    stage: str | None
    is_into_folder: bool


class MakeFolder(Struct, frozen=True):
    """WORKDIR makes its folder."""

    folder: str


Step = Run | Copy | MakeFolder


class Settings(Struct, frozen=True):
    """What an image says about the process that starts from it."""

    user: str = "0:0"
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    labels: dict[str, str] = field(default_factory=dict)


class Stage(Struct, frozen=True):
    """From one FROM to the next."""

    name: str
    base: str
    steps: tuple[Step, ...]
    settings: Settings


def read(text: str, arguments: Mapping[str, str]) -> tuple[Stage, ...]:
    """The stages of a Dockerfile in their order; the last is the image. Raises UnknownStepError.

    `arguments` are those of `--build-arg`: each has to be declared by an ARG.
    """
    return _Reader(arguments).read(text)


class _Reader:
    """Goes through the lines; the state is that of the stage that is being read."""

    def __init__(self, arguments: Mapping[str, str]) -> None:
        self._given = dict(arguments)
        self._declared: set[str] = set()
        self._before_stages: dict[str, str] = {}
        self._stages: list[Stage] = []
        self._arguments: dict[str, str] = {}
        self._base: str | None = None
        self._name = ""
        self._steps: list[Step] = []
        self._settings = Settings()
        self._meanings: dict[str, Callable[[str], None]] = {
            "ARG": self._arg,
            "CMD": lambda value: self._set(command=_words_of_json(value)),
            "COPY": self._copy,
            "ENTRYPOINT": lambda value: self._set(entrypoint=_words_of_json(value)),
            "ENV": self._env,
            "FROM": self._from,
            "LABEL": lambda value: self._set(labels={**self._settings.labels, **self._pairs(value)}),
            "RUN": self._run,
            "STOPSIGNAL": lambda value: self._set(stop_signal=self._expanded(value)),
            "USER": self._user,
            "WORKDIR": self._workdir,
        }

    def read(self, text: str) -> tuple[Stage, ...]:
        for line in DockerfileParser(fileobj=BytesIO(text.encode())).structure:
            number, instruction, value = line["startline"] + 1, line["instruction"], line["value"]
            try:
                self._take(instruction, value, line["content"])
            except (UnknownStepError, ValueError) as error:
                raise UnknownStepError(f"Dockerfile:{number}: {instruction} {value[:80]}: {error}") from None
        self._end_stage()
        if not self._stages:
            raise UnknownStepError("Dockerfile: there is no FROM")
        if undeclared := sorted(set(self._given) - self._declared):
            raise UnknownStepError(f"Dockerfile: no ARG declares {', '.join(undeclared)}")
        return tuple(self._stages)

    def _take(self, instruction: str, value: str, content: str) -> None:
        if instruction == "COMMENT":
            if _DIRECTIVE.match(content):
                raise UnknownStepError("parser directives are not known")
            return
        meaning = self._meanings.get(instruction)
        if meaning is None:
            raise UnknownStepError("this instruction is not known")
        if self._base is None and instruction not in {"ARG", "FROM"}:
            raise UnknownStepError("it stands before the first FROM")
        meaning(value)

    def _from(self, value: str) -> None:
        self._end_stage()
        self._arguments = {}
        words = value.split()
        if words[0].startswith("-"):
            raise UnknownStepError(f"the flag {words[0]} is not known")
        if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
            raise UnknownStepError("neither BASE nor BASE AS NAME")
        self._base = self._expanded(words[0], self._before_stages)
        if any(stage.name == self._base for stage in self._stages):
            raise UnknownStepError("a stage on a stage is not known")
        self._name = words[2] if len(words) == 3 else str(len(self._stages))

    def _end_stage(self) -> None:
        if self._base is not None:
            self._stages.append(Stage(self._name, self._base, tuple(self._steps), self._settings))
        self._base, self._steps, self._settings = None, [], Settings()

    def _arg(self, value: str) -> None:
        name, is_default, default = value.partition("=")
        if not name.isidentifier() or len(list(WordSplitter(default).split())) > 1:
            raise UnknownStepError("one name, with or without =DEFAULT, is known")
        self._declared.add(name)
        found = self._before_stages.get(name, self._expanded(default) if is_default else None)
        found = self._given.get(name, found)
        if found is not None:
            (self._before_stages if self._base is None else self._arguments)[name] = found

    def _env(self, value: str) -> None:
        self._set(environment={**self._settings.environment, **self._pairs(value)})

    def _run(self, value: str) -> None:
        if value.startswith(("-", "[")) or "<<" in value:
            raise UnknownStepError("flags, the form with brackets and here-documents are not known")
        if self._settings.user != "0:0":
            raise UnknownStepError("RUN after USER is not known")
        environment = {**self._arguments, **self._settings.environment}
        self._steps.append(Run(value, environment, self._settings.folder))

    def _copy(self, value: str) -> None:
        words = [self._expanded(word) for word in value.split()]
        stage = None
        if words[0].startswith("--from="):
            stage = words.pop(0).removeprefix("--from=")
            if all(each.name != stage for each in self._stages):
                raise UnknownStepError(f"there is no stage {stage} before it")
        if unknown := [
            word for word in words if word.startswith(("-", "[", "<<")) or "*" in word or "?" in word
        ]:
            raise UnknownStepError(f"{unknown[0]} is not known: neither flags but --from nor patterns are")
        *sources, target = words
        if not sources or (len(sources) > 1 and not target.endswith("/")):
            raise UnknownStepError("one source, or several and a folder that ends with /")
        path = str(PurePosixPath(self._settings.folder, target))
        self._steps.append(Copy(tuple(sources), path, stage, target.endswith("/")))

    def _user(self, value: str) -> None:
        user = self._expanded(value)
        if not re.fullmatch(r"\d+:\d+", user):
            raise UnknownStepError("a number, a colon and a number are known, names are not")
        self._set(user=user)

    def _workdir(self, value: str) -> None:
        folder = str(PurePosixPath(self._settings.folder, self._expanded(value)))
        self._set(folder=folder)
        self._steps.append(MakeFolder(folder))

    def _set(self, **changes: object) -> None:
        self._settings = replace(self._settings, **changes)

    def _pairs(self, value: str) -> dict[str, str]:
        self._refuse_what_does_not_expand(value)
        known = {"args": self._arguments, "envs": self._settings.environment}
        return dict(extract_key_values(env_replace=True, instruction_value=value, **known))

    def _expanded(self, value: str, arguments: Mapping[str, str] | None = None) -> str:
        self._refuse_what_does_not_expand(value)
        known = self._arguments if arguments is None else arguments
        for name in re.findall(r"\$\{?(\w+)", value):
            if name not in known and name not in self._settings.environment:
                raise UnknownStepError(f"${name} has no value")
        return str(WordSplitter(value, args=known, envs=self._settings.environment).dequote())

    @staticmethod
    def _refuse_what_does_not_expand(value: str) -> None:
        if "$" in _PLAIN_VARIABLE.sub("", value):
            raise UnknownStepError("only $NAME and ${NAME} are known")


def _words_of_json(value: str) -> tuple[str, ...]:
    """The words of the form with brackets. Raises UnknownStepError for the other one, which needs a shell."""
    try:
        words = json.loads(value)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UnknownStepError("only a JSON list of strings is known")
    return tuple(words)
