#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Tables and plots of a results file of scripts/bench.

report.py RESULTS --output FOLDER     report.md and SVG plots
report.py RESULTS --page FILE         writes the generated part of a page anew: what is between its two markers
report.py RESULTS --page FILE --check fails with the difference if that part is not what the results say

Only the plots need matplotlib."""

import argparse
import difflib
import json
import os
import statistics
import sys

BEGIN = "<!-- made by tests/bench/report.py: begin -->"
END = "<!-- made by tests/bench/report.py: end -->"
COLOURS = {"routing": "#999999", "nftables": "#0072b2", "haproxy": "#d55e00", "nginx": "#009e73",
           "sluice-xdp": "#cc3399", "sluice-dpdk": "#7b4fb5"}
# Of the XDP engine, against nftables: what, key, is the ratio to be at least or at most.
GOALS = [("packets/s of small UDP", "packets", "per_second", "at least", 3.0),
         ("time of the core, a request", "requests", "core_us", "at most", 0.7),
         ("time of the core, a connection", "connections", "core_us", "at most", 0.7)]

# Of the cases of a mode of sluice-bench, what the page shows: a table each, of headings and keys. A table has the cases that
# have its first key.
SELF_COLUMNS = {
    "commit": [{"change, ms": "commit_ms", "p99": "commit_p99_ms", "changes/s": "per_second", "longest turn, us": "gap_us",
                "its p99": "gap_p99_us", "when nothing changes": "quiet_gap_us", "p99 of that": "quiet_gap_p99_us"}],
    "worker": [{"balancer, ns": "balancer_ns", "its fastest round": "balancer_best_ns", "swap, ns": "swap_ns", "of swap": "ratio",
                "M/s": "mpps", "bytes a flow": "bytes_per_flow", "disturbed, %": "disturbed_percent"},
               {"of one worker": "speedup", "two workers, M/s": "mpps", "one, M/s": "one_mpps", "two swap loops of one": "swap_speedup",
                "two, M/s": "swap_mpps", "one swap loop, M/s": "swap_one_mpps", "handed over, %": "handed_percent"}],
    "wire": [{"Sluice, M/s": "sluice_mpps", "testpmd, M/s": "testpmd_mpps", "of testpmd": "throughput_ratio",
              "Sluice without loss, M/s": "sluice_zero_loss_mpps", "testpmd without loss, M/s": "testpmd_zero_loss_mpps"},
             {"Sluice's p50 at 50 %, us": "sluice_p50_us_50", "p99": "sluice_p99_us_50",
              "testpmd's p50 at that rate": "testpmd_same_p50_us_50", "its p99": "testpmd_same_p99_us_50",
              "p99 of testpmd's": "p99_ratio_same_50", "disturbed, %": "disturbed_percent"}]}


def figure(value):
    """Three digits that count, and no more than there are."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (int, float)):
        return str(value).replace("|", "\\|")
    if value == int(value) and abs(value) < 1e15 and isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if size >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


class Peers:
    """Medians over the rounds of each balancer."""

    def __init__(self, part):
        self.part = part
        self.balancers = [b for b in part["balancers"] if self.runs(b["name"])]

    def runs(self, name):
        return [run for run in self.part["runs"] if run["balancer"] == name]

    def values(self, name, load, key):
        return [run[load][key] for run in self.runs(name) if key in run.get(load, {})]

    def median(self, name, load, key):
        values = self.values(name, load, key)
        return statistics.median(values) if values else None

    def hold(self, name, key):
        values = [run["packets"]["hold"][key] for run in self.runs(name) if "packets" in run]
        return statistics.median(values) if values else None

    def loads(self):
        return [run[load] for run in self.part["runs"] for load in ("requests", "connections", "packets") if load in run]

    def ladder(self, name):
        """[(offered, arrived)]: medians of the steps, by what was wanted."""
        ladders = [run["packets"]["ladder"] for run in self.runs(name) if "packets" in run]
        return [tuple(statistics.median(step[key] for step in steps) for key in ("offered_per_second", "per_second"))
                for steps in zip(*ladders)]

    def best(self, load, key, least):
        """The best of the balancers, for bold type; plain routing is none, and what is uncertain is not compared."""
        values = [self.median(b["name"], load, key) for b in self.balancers
                  if b["name"] != "routing" and not self.values(b["name"], load, f"{key}_uncertain")]
        values = [value for value in values if value is not None]
        return (min if least else max)(values) if values else None

    def cell(self, name, load, key):
        value = self.median(name, load, key)
        text = figure(value)
        uncertain = self.median(name, load, f"{key}_uncertain")
        if uncertain is not None:
            return f"{text} ± {figure(uncertain)}"
        if value is not None and name != "routing" and value == self.best(load, key, key.endswith("_us")):
            return f"**{text}**"
        return text


def percent(value):
    return "-" if value is None else f"{value * 100:.1f} %"


def http_lines(peers, load, what):
    rows = [[b["label"], *(peers.cell(b["name"], load, key) for key in ("core_us", "per_second", "p50_us", "p99_us")),
             figure(int(sum(peers.values(b["name"], load, "errors"))))] for b in peers.balancers]
    return table(["balancer", f"its core, us a {what}", f"{what}s/s", "p50, us", "p99, us", "errors"], rows)


def packet_lines(peers):
    rows = []
    for balancer in peers.balancers:
        name = balancer["name"]
        if peers.median(name, "packets", "per_second") is None:
            rows.append([balancer["label"], *["-"] * 5])
            continue
        rows.append([balancer["label"], peers.cell(name, "packets", "core_us"), peers.cell(name, "packets", "per_second"),
                     percent(peers.median(name, "packets", "loss")),
                     percent(peers.hold(name, "loss")), figure(peers.hold(name, "core_us"))])
    hold = f"{peers.part['settings']['hold']:.0%}".replace("%", " %")
    return table(["balancer", "its core, us a packet", "packets/s", "lost there", f"lost at {hold} of it",
                  f"us a packet at {hold}"], rows)


def other_core_line(peers):
    values = [(what, peers.median("sluice-dpdk", load, "other_core_us")) for load, what in
              (("requests", "request"), ("connections", "connection"), ("packets", "packet"))]
    values = [f"{figure(value)} us a {what}" for what, value in values if value is not None]
    if not values:
        return []
    return ["", "With the DPDK engine the kernel's part of AF_XDP, which a NIC would do, is on the other core: "
            + ", ".join(values) + ", not counted above."]


def goal_lines(peers):
    rows = []
    for what, load, key, kind, goal in GOALS:
        ours, theirs = peers.median("sluice-xdp", load, key), peers.median("nftables", load, key)
        if not ours or not theirs:
            continue
        ratio = ours / theirs
        reached = ratio >= goal if kind == "at least" else ratio <= goal
        rows.append([what, figure(ours), figure(theirs), f"{ratio:.2f}", f"{kind} {goal:g}", "yes" if reached else "**no**"])
    return ["", "The XDP engine against nftables:", "",
            *table(["", "Sluice, XDP", "nftables", "ratio", "goal", "reached"], rows)] if rows else []


def spread(peers):
    """How far apart the rounds are: the widest of the cores' times, as a part of its median."""
    widths = []
    for balancer in peers.balancers:
        for load in ("requests", "connections", "packets"):
            values = peers.values(balancer["name"], load, "core_us")
            if len(values) > 1 and statistics.median(values) > 0:
                widths.append((max(values) - min(values)) / statistics.median(values))
    return max(widths) if widths else None


def disturbed_lines(peers):
    settings = peers.part["settings"]
    loads = peers.loads()
    n = sum(load["is_disturbed"] for load in loads)
    rounds = f"{settings['rounds']} round{'s' if settings['rounds'] > 1 else ''}"
    text = (f"Medians of {rounds}, {settings['seconds']} s a load; {settings['connections']} connections, "
            f"{settings['flows']} flows of UDP. ")
    if n:
        text += (f"**Disturbed: in {n} of {len(loads)} loads others had more than {settings['disturbed_above']:.0%} of the "
                 "balancer's core.** ").replace("%", " %")
    else:
        text += "Nobody else had the balancer's core. "
    width = spread(peers)
    if width is not None:
        text += f"Rounds differ by at most {width * 100:.0f} % in the core's time."
    return [text.strip()]


def peers_lines(part, prefix):
    peers = Peers(part)
    if not peers.balancers:
        return []
    lines = ["### Peers", "", *disturbed_lines(peers), "", "Requests on connections that are kept:", "",
             *http_lines(peers, "requests", "request"), "", "Each request on a new connection:", "",
             *http_lines(peers, "connections", "connection"), "",
             "Small UDP one way, in frames of 64 bytes, at the offered rate of which most arrived:", "", *packet_lines(peers)]
    lines += other_core_line(peers) + goal_lines(peers)
    lines += ["", f"![Time of the balancer's core]({prefix}core-time.svg)", "", f"![Small UDP]({prefix}packets.svg)", "",
              f"![Latency]({prefix}latency.svg)"]
    for kind in ("skipped", "failed"):
        lines += [f"\n{kind.capitalize()}: {line.splitlines()[0]}" for line in part[kind]]
    return lines


def find_rows(value):
    """Lists of objects within a part, each with where it stands."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        yield "", value
    elif isinstance(value, dict):
        for key, inner in value.items():
            for path, rows in find_rows(inner):
                yield (f"{key}, {path}" if path and key != "rows" else path or (key if key != "rows" else "")), rows


def flat(row):
    """An object within an object becomes columns of its own; lists are left out."""
    columns = {}
    for key, value in row.items():
        if isinstance(value, dict):
            columns.update({f"{key} {inner}": one for inner, one in flat(value).items()})
        elif not isinstance(value, list):
            columns[key] = value
    return columns


def of_starts(value):
    """A median of several starts, and the least and most of them."""
    if value is None or value["min"] == value["max"]:
        return figure(value and value["median"])
    return f"{figure(value['median'])} ({figure(value['min'])} to {figure(value['max'])})"


def self_lines(name, part):
    """A mode of sluice-bench: the columns of SELF_COLUMNS; results.json has all."""
    lines = [f"### {name}", "", f"`sluice-bench {name}`: medians of {part['starts']} starts of {part['rounds']} rounds, "
                                "in parentheses the least and the most of the starts."]
    for columns in SELF_COLUMNS[name]:
        rows = [[case["name"], *(of_starts(case.get(key)) for key in columns.values())] for case in part["cases"]
                if next(iter(columns.values())) in case]
        lines += ["", *table(["case", *columns], rows)] if rows else []
    return lines


def other_lines(name, part):
    """Any other part: what it says of itself in a line, then its rows as they are."""
    lines = [f"### {name}"]
    if isinstance(part, dict):
        facts = [f"{key} {figure(value)}" for key, value in part.items() if not isinstance(value, (dict, list))]
        lines += ["", "; ".join(facts)] if facts else []
    for title, rows in find_rows(part):
        rows = [flat(row) for row in rows]
        keys = list(dict.fromkeys(key for row in rows for key in row))
        lines += ["", *([f"{title}:", ""] if title else []),
                  *table([key.replace("_", " ") for key in keys], [[figure(row.get(key)) for key in keys] for row in rows])]
    return lines


def machine_lines(results):
    made, machine = results["made"], results["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores" + (f" of a virtual machine ({machine['hypervisor']})"
                                                           if machine["hypervisor"] else "")
    lines = [f"Measured on {made['date']}, at commit {made['commit']}{' with changes' if made['is_changed'] else ''}: {where}, "
             f"{machine['memory_mib'] / 1024:.0f} GiB, Linux {machine['kernel']}, {machine['system']}.", "",
             "Packages: " + ", ".join(f"{name} {version}" for name, version in results["packages"].items()) + "."]
    if results["skipped"]:
        lines += ["", "Skipped, and so not shown: " + "; ".join(results["skipped"]) + "."]
    return lines


def report(results, prefix):
    lines = machine_lines(results)
    for name, part in results["parts"].items():
        if name == "peers":
            lines += ["", *peers_lines(part, prefix)]
        else:
            lines += ["", *(self_lines if name in SELF_COLUMNS else other_lines)(name, part)]
    return "\n".join(lines) + "\n"


# -- plots


def save(plot, figure_, path):
    figure_.tight_layout()
    figure_.savefig(path, metadata={"Date": None})
    plot.close(figure_)
    # Trailing blanks are matplotlib's.
    with open(path) as file:
        lines = [line.rstrip() for line in file]
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def bars(axis, peers, load, key, title):
    named = [(b["label"], b["name"], peers.median(b["name"], load, key)) for b in reversed(peers.balancers)]
    named = [row for row in named if row[2] is not None]
    drawn = axis.barh([label for label, _, _ in named], [value for _, _, value in named],
                      color=[COLOURS.get(name, "#444444") for _, name, _ in named])
    axis.bar_label(drawn, [f" {figure(value)}" for _, _, value in named], fontsize=8)
    axis.set_title(title, fontsize=10)
    axis.margins(x=0.2)
    axis.spines[["top", "right"]].set_visible(False)


def plot_core_time(plot, peers, path):
    figure_, axes = plot.subplots(3, 1, figsize=(7, 6.5))
    for axis, load, title in zip(axes, ("requests", "connections", "packets"),
                                 ("a request", "a connection", "a packet of small UDP")):
        bars(axis, peers, load, "core_us", f"Time of the balancer's core, us {title}: less is better")
    save(plot, figure_, path)


def plot_packets(plot, peers, path):
    figure_, axis = plot.subplots(figsize=(7, 4))
    highest = 0
    for balancer in peers.balancers:
        points = peers.ladder(balancer["name"])
        if points:
            axis.plot(*zip(*((offered / 1e6, arrived / 1e6) for offered, arrived in points)), marker="o", markersize=3,
                      label=balancer["label"], color=COLOURS.get(balancer["name"]))
            highest = max(highest, *(offered / 1e6 for offered, _ in points))
    axis.plot([0.01, highest], [0.01, highest], color="#cccccc", linewidth=1, label="nothing lost", zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="offered, million packets/s", ylabel="arrived, million packets/s",
             ylim=(0.01, None), xlim=(0.03, None))
    axis.set_title("Small UDP, one core", fontsize=10)
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    save(plot, figure_, path)


def plot_latency(plot, peers, path):
    figure_, axes = plot.subplots(2, 2, figsize=(9, 4.5), sharey=True)
    for row, load, what in zip(axes, ("requests", "connections"), ("kept connections", "new connections")):
        for axis, key in zip(row, ("p50_us", "p99_us")):
            bars(axis, peers, load, key, f"{what}: {key.removesuffix('_us')}, us")
    save(plot, figure_, path)


def plot_all(results, folder):
    if "peers" not in results["parts"]:
        return
    peers = Peers(results["parts"]["peers"])
    if not peers.balancers:
        return
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("svg")
    from matplotlib import pyplot  # pylint: disable=import-outside-toplevel
    matplotlib.rcParams.update({"svg.hashsalt": "sluice", "svg.fonttype": "none", "font.size": 9})
    plot_core_time(pyplot, peers, os.path.join(folder, "core-time.svg"))
    plot_packets(pyplot, peers, os.path.join(folder, "packets.svg"))
    plot_latency(pyplot, peers, os.path.join(folder, "latency.svg"))


# -- pages


def with_generated(page, text):
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description="Tables and plots of a results file of scripts/bench.")
    parser.add_argument("results")
    parser.add_argument("--output", metavar="FOLDER", help="where report.md and the plots go")
    parser.add_argument("--page", metavar="FILE", help="a page with the two markers")
    parser.add_argument("--check", action="store_true", help="change nothing: fail if the page is stale")
    arguments = parser.parse_args()
    with open(arguments.results) as file:
        results = json.load(file)
    if results["format"] != 1:
        sys.exit(f"{arguments.results}: format {results['format']}, and not 1")
    if arguments.output:
        os.makedirs(arguments.output, exist_ok=True)
        with open(os.path.join(arguments.output, "report.md"), "w") as file:
            file.write("# What scripts/bench measured\n\n" + report(results, ""))
        plot_all(results, arguments.output)
    if arguments.page:
        with open(arguments.page) as file:
            page = file.read()
        folder = os.path.relpath(os.path.dirname(os.path.abspath(arguments.results)), os.path.dirname(os.path.abspath(arguments.page)))
        new = with_generated(page, report(results, "" if folder == "." else f"{folder}/"))
        if arguments.check:
            sys.stdout.writelines(difflib.unified_diff(page.splitlines(True), new.splitlines(True), arguments.page, "results"))
            return page != new
        with open(arguments.page, "w") as file:
            file.write(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
