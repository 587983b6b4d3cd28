"""What the scripts of this folder share: options, running the program, and the table published / ours / difference.

Python 3 and its standard library only. A script describes its rows; `Study` runs the program where its result is not there yet,
and prints and writes the table.
"""
import argparse
import array
import ast
import json
import os
import pathlib
import shlex
import shutil
import struct
import subprocess
import sys
import zipfile

from published import MODELS, recognise

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMPT, SECOND_PROMPT = "Summer is warm. Winter is cold.\n", "Are you sure? Yes, absolutely!"
HUB = "hf://datasets/"
WIKITEXT = HUB + "Salesforce/wikitext/wikitext-2-raw-v1/test-*.parquet"
C4 = HUB + "NeelNanda/c4-10k/data/train-*.parquet"
PG19 = HUB + "emozilla/pg19/data/validation-*.parquet"
REDPAJAMA = HUB + "togethercomputer/RedPajama-Data-1T-Sample/*_sample.jsonl"
LONG = 4096  # tokens of a window in the papers
SHARE_OF_LARGEST = 0.2  # what is named in the papers' figures stands out so


class Failure(Exception):
    """One line for the user."""


class Row:
    """One line of the table. `published` is None where there is no number for this model."""
    def __init__(self, what, ours, published=None, source=""):
        self.what, self.ours, self.published, self.source = what, ours, published, source

    def difference(self):
        """Ours less the published number; of places whether they are the same. None where one is not there."""
        if self.published is None or self.ours is None:
            return None
        if isinstance(self.published, float) or isinstance(self.ours, float):
            return self.ours - self.published
        return self.ours == self.published

    def relative(self):
        """The difference over the published number; None where that says nothing."""
        difference = self.difference()
        number = isinstance(difference, float) and self.published not in (0, None)
        return difference / abs(self.published) if number else None

    def differs(self, tolerance):
        """Whether it is another place, or a number further off than the tolerance (a share of the published one)."""
        relative, difference = self.relative(), self.difference()
        return difference is False or (relative is not None and abs(relative) > tolerance)

    def as_json(self):
        return {"what": self.what, "published": self.published, "ours": self.ours, "difference": self.difference(),
                "relative": self.relative(), "source": self.source}


def value(number):
    """A measured number, so that it is compared as one; None stays."""
    return None if number is None else float(number)


MOST_SHOWN = 12  # of a list; JSON has all


def shown(x):
    if x is None:
        return "-"
    if isinstance(x, (list, tuple)):
        nested = any(isinstance(one, list) for one in x)
        most = MOST_SHOWN // 4 if nested else MOST_SHOWN
        text = ("; " if nested else " ").join(shown(one) for one in x[:most])
        return (text + (f" ... ({len(x)})" if len(x) > most else "")) or "none"
    if isinstance(x, float):
        return f"{x:,.0f}" if abs(x) >= 10000 else f"{x:.4g}"
    return str(x)


def shown_difference(row):
    difference, relative = row.difference(), row.relative()
    if isinstance(difference, bool):
        return "same" if difference else "differs"
    return "-" if difference is None else f"{difference:+.3g}" + (f" ({relative:+.1%})" if relative is not None else "")


def table(rows):
    """The rows as text, in columns."""
    lines = [("", "published", "ours", "difference", "source")]
    lines += [(row.what, shown(row.published), shown(row.ours), shown_difference(row), row.source) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    cells = ([line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in (1, 2, 3)), line[4]] for line in lines)
    return "\n".join("  ".join(one).rstrip() for one in cells)


def read_array(path, name):
    """(shape, numbers) of one float array of an .npz file."""
    with zipfile.ZipFile(path) as archive, archive.open(name + ".npy") as file:
        magic = file.read(8)
        size = struct.unpack("<H" if magic[6] == 1 else "<I", file.read(2 if magic[6] == 1 else 4))[0]
        header = ast.literal_eval(file.read(size).decode("latin1"))
        if header["fortran_order"] or header["descr"] not in ("<f4", "<f8"):
            raise Failure(f"{path}: {name} is of a form that is not read here: {header}")
        numbers = array.array("f" if header["descr"] == "<f4" else "d", file.read())
    if sys.byteorder == "big":
        numbers.byteswap()
    return header["shape"], numbers


def largest_of_tokens(path, name, layer):
    """Of each token of a prompt the largest abs value in a layer. arrays.npz has [layers, tokens, channels]."""
    (_, tokens, channels), numbers = read_array(path, name)
    begin = layer * tokens * channels
    return [max(abs(x) for x in numbers[begin + t * channels:begin + (t + 1) * channels]) for t in range(tokens)]


def standing_out(values, share=SHARE_OF_LARGEST):
    """The places of the values that are at least that share of the largest."""
    most = max(values, default=0)
    return [i for i, x in enumerate(values) if most > 0 and x >= share * most]


def find_program(named):
    places = [named] if named else [os.environ.get("OUTLIERS_PROGRAM"), ROOT / "build/release/outliers", shutil.which("outliers")]
    for place in places:
        if place and pathlib.Path(place).is_file():
            return str(pathlib.Path(place).resolve())
    raise Failure(f"no program {named}" if named else "there is no program yet: run scripts/build.sh, or name one with --program")


def changed(path):
    """When a file or folder was last changed; 0 for a name on the Hub."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0


class Study:
    """A script's run: its options, the program, the model's published facts, and the rows."""

    def __init__(self, script, description, more=lambda parser: None):
        self.script = pathlib.Path(script).stem
        parser = argparse.ArgumentParser(prog=pathlib.Path(script).name, description=description.split("\n\n")[0],
                                         epilog="what it reproduces, what to expect, time and memory: repro/README.md")
        parser.add_argument("model", metavar="MODEL", help="a checkpoint as the program takes it: a file, a folder or a name on the Hub")
        parser.add_argument("-o", metavar="FILE", help="write the table as JSON")
        parser.add_argument("--as", dest="known", metavar="KEY", choices=sorted(MODELS),
                            help="the published model that MODEL is, where its name does not say so: " + ", ".join(sorted(MODELS)))
        parser.add_argument("--work", metavar="DIR", default="repro-work", help="where reports and figures go, and are found again")
        parser.add_argument("--fail-above", type=float, metavar="PERCENT",
                            help="exit with 1 where a number differs by more, or a place is another")
        parser.add_argument("--program", metavar="FILE", help="the program (default: $OUTLIERS_PROGRAM, build/release/outliers, PATH)")
        for name, what in (("device", "cpu, cuda or cuda:N"), ("dtype", "float32, bfloat16 or float16"), ("threads", "CPU threads"),
                           ("memory", "resident memory that may be taken, as 16GiB")):
            parser.add_argument("--" + name, help=what + ", handed on to the program")
        more(parser)
        self.args = parser.parse_args()
        self.program = find_program(self.args.program)
        self.key = self.args.known or recognise(self.args.model)
        self.rows, self.commands, self.costs, self.files, self.notes = [], [], [], [], []
        called = pathlib.Path(self.args.model).name if pathlib.Path(self.args.model).exists() else self.args.model
        self.work = pathlib.Path(self.args.work) / "".join(c if c.isalnum() or c in "-._" else "_" for c in called)[-100:]
        self.described = None

    @property
    def known(self):
        return MODELS[self.key] if self.key else None

    def fact(self, name, default=None):
        """A published value, for choosing what to look at."""
        found = self.known.fact(name)[0] if self.known else None
        return default if found is None else found

    def add(self, what, ours, fact=None):
        """A row; `fact` names the published number, if any model has one."""
        published, source = self.known.fact(fact) if self.known and fact else (None, "")
        if isinstance(ours, float) and isinstance(published, (int, float)):
            published = float(published)
        self.rows.append(Row(what, ours, published, source))

    def note(self, text):
        self.notes.append(text)

    def run(self, command, *words):
        """Runs a command of the program on the model; what it prints is not kept, its error ends the script."""
        common = [word for name in ("device", "dtype", "threads", "memory") if (given := getattr(self.args, name))
                  for word in ("--" + name, given)]
        line = [self.program, command, *map(str, words), *(common if command != "plot" else [])]
        self.commands.append(shlex.join(["outliers", *line[1:]]))
        print(self.commands[-1], file=sys.stderr)
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(done.returncode if done.returncode > 0 else 128 - done.returncode)
        return done.stdout

    def result(self, command, file, *words):
        """The JSON that a command leaves in its output folder. A result of the same command is taken as it is."""
        number = 0
        while True:
            out = self.work / (command + (f"-{number}" if number else ""))
            made_by = out.with_name(out.name + ".command.json")
            wanted = [command, self.args.model, *map(str, words), self.args.device, self.args.dtype,
                      *map(changed, (self.program, self.args.model))]
            if not made_by.exists():
                break
            if json.loads(made_by.read_text()) == wanted and (out / file).exists():
                self.commands.append(shlex.join(["outliers", command, self.args.model, "-o", str(out), *map(str, words)]))
                return self.remember(json.loads((out / file).read_text()), earlier=True), out
            number += 1
        self.work.mkdir(parents=True, exist_ok=True)
        self.run(command, self.args.model, "-o", out, "--force", *words)
        made_by.write_text(json.dumps(wanted))
        return self.remember(json.loads((out / file).read_text())), out

    def remember(self, results, earlier=False):
        model, run = results["model"], results["run"]
        self.described = {"name": model["name"], "layers": model["layers"], "program": f"{run['version']} ({run['commit']})"}
        self.costs.append({"seconds": sum(run["seconds"].values()), "peak_host_bytes": run["peak_host_bytes"],
                           "peak_device_bytes": run["peak_device_bytes"], "machine": run.get("machine"), "dtype": run["dtype"],
                           "earlier": earlier})
        shape = (model["layers"], model["width"], model["mlp_width"])
        if self.known and self.known.shape != shape:
            told = "--as" if self.args.known else "its name"
            self.note(f"{told} says {self.known.title}, but layers, width and MLP width are {shape}, not {self.known.shape}: no published "
                      "numbers are shown")
            self.key = None
        return results

    def report(self, corpus, sequences, tokens, bos="never"):
        """results.json of a report on both prompts, and its folder."""
        words = ["--bos", bos, "--prompt", PROMPT, "--prompt", SECOND_PROMPT, "--sequences", sequences, "--tokens", tokens, "--no-figures",
                 "--no-lifecycle", "--seed", self.args.seed]
        if corpus:
            words += ["--corpus", corpus]
        return self.result("report", "results.json", *words)

    def windows_of(self, text):
        """How many windows of a text are scored, as options of the program."""
        joint = "c4 and pg19: the studies join documents by a space, the program by a blank line"
        if text != "wikitext" and joint not in self.notes:
            self.note(joint)
        count = self.args.sequences or (None if text == "wikitext" else 100)
        return ["--sequences", count] if count else []

    def lifecycle(self):
        """The life of the prompt's outlier, and the folder. Where the paper's layer and head of the spread are known they are taken."""
        words = ["--bos", "never", "--prompt", PROMPT]
        for name, fact in (("--spread", "life.spread"), ("--head", "life.head")):
            if (chosen := self.fact(fact)) is not None:
                words += [name, chosen]
        results, folder = self.result("lifecycle", "results.json", *words)
        lives = results.get("lifecycle", {}).get("prompts", [])
        if not lives or "emergence" not in lives[0]:
            raise Failure(f"no outlier was found on the prompt in {self.args.model}, so there is no life to follow")
        return lives[0], results, folder

    def figures(self, folder, *names):
        """Draws the figures of a report; what it has nothing to show for is left out with a line."""
        words = ["plot", str(folder), "--only", ",".join(names), "--formats", "pdf,png"]
        self.commands.append(shlex.join(["outliers", *words]))
        done = subprocess.run([self.program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            self.note("no figures: " + done.stderr.strip().splitlines()[-1])
        self.files += sorted(str(p) for name in names for p in (folder / "figures").glob(f"{name}*.p[dn][fg]"))

    def finish(self):
        """Prints the table, writes it, and gives the exit code."""
        print(f"\n{self.script}: {self.described['name'] or self.args.model}, {self.described['layers']} layers"
              + (f", published as {self.known.title}" if self.known else ""))
        if not self.known:
            print("no published numbers are known for this model (--as names one): " + ", ".join(sorted(MODELS)))
        elif all(row.published is None for row in self.rows):
            print(f"of {self.known.title} nothing that this script measures was published")
        print(table(self.rows))
        for note in self.notes:
            print("note: " + note)
        if self.files:
            print(f"figures: {pathlib.Path(self.files[0]).parent}: " + " ".join(sorted({pathlib.Path(file).stem for file in self.files})))
        for cost in self.costs:
            gpu = f", {cost['peak_device_bytes'] / 1e9:.2f} GB on the device" if cost["peak_device_bytes"] else ""
            print(f"cost: {cost['seconds']:.0f} s, {cost['peak_host_bytes'] / 1e9:.2f} GB of memory{gpu}, {cost['dtype']}, "
                  f"{cost['machine']}" + (" (an earlier run)" if cost["earlier"] else ""))
        if self.args.o:
            result = {"script": self.script, "model": self.args.model, "published_as": self.key, **self.described,
                      "commands": self.commands, "rows": [row.as_json() for row in self.rows], "notes": self.notes, "files": self.files,
                      "costs": self.costs}
            pathlib.Path(self.args.o).write_text(json.dumps(result, indent=1) + "\n")
        tolerance = self.args.fail_above
        return 1 if tolerance is not None and any(row.differs(tolerance / 100) for row in self.rows) else 0


def inputs_of(results, kind):
    return [one["name"] for one in results["inputs"] if one["kind"] == kind]


def of_layers(results, name, point):
    """What each layer has of a point of an input."""
    return [layer["inputs"][name][point] for layer in results["layers"]]


def add_classes(study, what, entries, facts):
    """Rows: the share of each class of tokens among entries of the results, which have a class and perhaps a count."""
    total = sum(entry.get("count", 1) for entry in entries)
    for name, called in (("initial", "the initial token"), ("strong_delimiter", "strong delimiters"), ("weak_word", "weak words"),
                         ("other", "others")):
        found = sum(entry.get("count", 1) for entry in entries if entry["class"] == name)
        study.add(f"{what}: {called}", found / total if total else None, f"{facts}.{name}")


def peaks(values):
    """The place of the largest value, and of the largest of the other half of the layers."""
    first = values.index(max(values))
    half = len(values) // 2
    others = range(half, len(values)) if first < half else range(half)
    return first, max(others, key=lambda i: values[i])


def plateau(values, share=0.5):
    """The layers whose value is at least that share of the largest."""
    return standing_out(values, share)


def median(values):
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def text_options(parser, default):
    """--texts, and a file for each. C4 and PG-19 are cut to 100 windows, as the studies do."""
    names = {"wikitext": WIKITEXT, "c4": C4, "pg19": PG19}

    def some(text):
        chosen = text.split(",")
        if not chosen or set(chosen) - set(names):
            raise argparse.ArgumentTypeError(f"{text}: some of {', '.join(names)}, with commas between")
        return chosen
    parser.add_argument("--texts", type=some, default=default, metavar="NAMES", help=f"(default: {','.join(default)})")
    for name, place in names.items():
        parser.add_argument("--" + name, default=place, metavar="FILE", help=f"(default: {place})")
    parser.add_argument("--sequences", type=int, metavar="N", help="windows of each text (default: all of WikiText-2, 100 of the others)")


def main(study):
    """Runs a script's `study()`, which returns the exit code."""
    try:
        sys.exit(study())
    except (Failure, OSError) as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def seed_option(parser, seed):
    parser.add_argument("--seed", type=int, default=seed, metavar="N",
                        help=f"0: windows from the start of the corpus; else from random places (default: {seed})")


def size_options(sequences, tokens, corpus=REDPAJAMA):
    """--corpus, --sequences, --tokens and --seed with a study's own settings as defaults."""
    def add(parser):
        seed_option(parser, 1 if corpus else 0)
        parser.add_argument("--corpus", default=corpus, metavar="FILE", help=f"(default: {corpus or 'the one in the program'})")
        parser.add_argument("--sequences", type=int, default=sequences, metavar="N", help=f"(default: the study's {sequences})")
        parser.add_argument("--tokens", type=int, default=tokens, metavar="N", help=f"of each (default: the study's {tokens})")
    return add
