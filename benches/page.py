"""docs/benchmarks.md, written from the numbers of a run."""

import statistics


def write(results: dict) -> str:
    parts = [
        heading(results),
        engine_beside_others(results),
        over_http(results),
        set_shapes(results),
        growing(results),
        memory(results),
        peers(results),
    ]
    return "\n".join(parts)


def heading(results: dict) -> str:
    machine, facts = results["machine"], results["sentences"]
    versions = [f"polyhead {results['versions']['polyhead']}"]
    versions += sorted({f"{peer['name']} {peer['version']}" for peer in results["peers"]})
    return f"""# Benchmarks

Written by `{results['command']}`; the numbers are in [benchmarks.json](benchmarks.json), how they are
taken in [benchmarking.md](benchmarking.md).

![Real tokens a second, polyhead and others](benchmarks.svg)

| | |
|---|---|
| date | {results['date']} |
| processor | {machine['cpu']}, {machine['cores']} cores, {gigabytes(machine['memory'])}; {' '.join(machine['features'])} |
| system | {machine['system']} {machine['kernel']}, Python {machine['python']} |
| versions | {'; '.join(versions)} |
| model | all-MiniLM-L6-v2 |
| sentences | {facts['source']}: {facts['sentences']:,}, {facts['mean_tokens']:.1f} tokens on average, at most {facts['longest']} |

Medians of {results['rounds']} rounds, the least and the greatest in brackets. In each round everything
takes its turn once. Rates are real tokens a second on all cores: special tokens count, padding does
not. What a client or load generator costs is paid on the same cores.
"""


def engine_beside_others(results: dict) -> str:
    rounds = results["rounds_of"]
    rows = []
    for precision, values in rounds["engine"].items():
        cosine = rounds["cosine_to_fp32"].get(precision)
        rows.append((values, f"**polyhead** {precision}", cosine, "in process, token ids ready made"))
    for precision, shapes in rounds["http"].items():
        values = [sample["tokens_per_second"] for sample in shapes["4x32"]]
        cosine = rounds["cosine_to_fp32"].get(precision)
        note = "texts over HTTP to JSON, 4 connections × 32 sentences"
        rows.append((values, f"**polyhead** {precision}, server", cosine, note))
    for peer in results["peers"]:
        name = f"{peer['name']} {peer['precision']}"
        cosine = rounds["peers_cosine_to_fp32"].get(name)
        rows.append((rounds["peers"][name], name, cosine, peer["notes"]))
    rows.sort(key=lambda row: -statistics.median(row[0]))
    per_sentence = results["sentences"]["mean_tokens"]
    lines = [
        "## Beside others",
        "",
        "| | tokens/s | sentences/s | cosine to its fp32: least, mean | |",
        "|---|---:|---:|---|---|",
    ]
    for values, name, cosine, note in rows:
        sentences = statistics.median(values) / per_sentence
        close = f"{cosine['min']:.5f}, {cosine['mean']:.5f}" if cosine else ""
        lines.append(f"| {name} | {spread(values)} | {sentences:,.0f} | {close} | {note} |")
    lines += ["", "Not measured: " + "; ".join(results["absent"]) + "."]
    return "\n".join(lines) + "\n"


def over_http(results: dict) -> str:
    rounds = results["rounds_of"]
    lines = [
        "## Over HTTP",
        "",
        "Connections × sentences to a request; the share is that of the engine's own rate in the same",
        "rounds. JSON in, JSON out, over loopback.",
        "",
        "| | shape | tokens/s | of the engine | p50 | p99 |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for precision, shapes in rounds["http"].items():
        alone = statistics.median(rounds["engine"][precision])
        for shape in ("4x32", "32x1", "1x2048", "1x1"):
            samples = shapes[shape]
            rates = [sample["tokens_per_second"] for sample in samples]
            share = statistics.median(rates) / alone
            name = shape.replace("x", " × ")
            lines.append(
                f"| {precision} | {name} | {spread(rates)} | {share:.0%} |"
                f" {times(samples, 'p50')} | {times(samples, 'p99')} |"
            )
    lines += [
        "",
        "One sentence at a time: of 16 tokens on an idle server; of any length on an idle server; and of",
        "any length while a bulk client has two requests of 2,048 sentences in work at any time.",
        "",
        "| | 16 tokens, p50 | any, p99 | beside bulk, p99 | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for precision, shapes in rounds["http"].items():
        idle = middle(shapes["1x1"], "p99")
        beside = middle(shapes["beside_bulk"], "p99")
        lines.append(
            f"| {precision} | {times(shapes['short'], 'p50')} | {times(shapes['1x1'], 'p99')} |"
            f" {times(shapes['beside_bulk'], 'p99')} | {beside / idle:.1f} × |"
        )
    generator = [
        f"{precision} {statistics.median(shapes['generator_cpu']):.0%}"
        for precision, shapes in rounds["http"].items()
    ]
    padding = [f"{precision} {share:.1%}" for precision, share in results["padding"].items()]
    lines += [
        "",
        f"The load generator's own share of the processor at 4 × 32: {', '.join(generator)}. Padding in"
        f" all that the servers ran: {', '.join(padding)}.",
    ]
    return "\n".join(lines) + "\n"


def set_shapes(results: dict) -> str:
    lines = [
        "## At set shapes",
        "",
        "`polyhead bench`, and right after it others on one core. The share of the machine's peak counts",
        "linear layers only.",
        "",
    ]
    reports = [("all-MiniLM-L6-v2", results["engine"])]
    if results["bert_base"]:
        reports.append(("BERT base, random weights", results["bert_base"]))
    for title, report in reports:
        model = report["models"][0]
        lines += [f"### {title}", "", *machine_peaks(model), ""]
        lines += [
            "| | shape | tokens/s, one core | of peak | all cores | of peak | scaling | p50 | p99 |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for row in model["precisions"]:
            lines += [shape_line(row, shape) for shape in row.get("shapes", [])]
        for row in results["one_core"][model["name"]]:
            rates = spread(row["tokens_per_second"])
            lines.append(f"| {row['engine']} | {row['shape']} | {rates} | | | | | | |")
        lines += [""]
        for row in model["precisions"]:
            if told := closeness(row):
                lines += [told, ""]
    return "\n".join(lines)


def machine_peaks(model: dict) -> list[str]:
    lines = [f"{model['linear_flops_per_token'] / 1e6:.1f} MFLOP a token in linear layers."]
    for peak in model["peaks"]:
        one, every = peak["one_worker"]["max"] / 1e9, peak["all_workers"]["max"] / 1e9
        lines.append(
            f"Peak, {peak['arithmetic']}: {one:,.0f} GFLOP/s of one core, {every:,.0f} of all."
        )
    return lines


def shape_line(row: dict, shape: dict) -> str:
    one, every, latency = shape["one_worker"], shape["all_workers"], shape["latency"]
    return (
        f"| **polyhead** {row['precision']} | {shape['name']} | {three(one['tokens_per_second'])} |"
        f" {percent(one['share_of_peak'])} | {three(every['tokens_per_second'])} |"
        f" {percent(every['share_of_peak'])} | {median_of(every) / median_of(one):.2f} × |"
        f" {milliseconds(latency['p50'])} | {milliseconds(latency['p99'])} |"
    )


def closeness(row: dict) -> str | None:
    if "unavailable" in row:
        return f"{row['precision']} is not to be had: {row['unavailable']}"
    if cosine := row["cosine_to_fp32"]:
        return (
            f"{row['precision']}: cosine to fp32 at least {cosine['min']:.6f}, on average"
            f" {cosine['mean']:.6f}, over a sentence of each of {cosine['sentences']} lengths."
        )
    return None


def growing(results: dict) -> str:
    rows = results["growth"]
    least = min(statistics.median(row["microseconds_per_token"]) for row in rows)
    lines = [
        "## As requests grow",
        "",
        f"{results['fastest']}, over HTTP, always enough requests at a time to keep all workers busy.",
        "",
        "| sentences to a request | connections | µs a token | to the least |",
        "|---:|---:|---:|---:|",
    ]
    for row in rows:
        values = row["microseconds_per_token"]
        cost = statistics.median(values)
        bounds = f"{cost:.2f} ({min(values):.2f}–{max(values):.2f})"
        more = cost / least - 1
        lines.append(f"| {row['inputs']:,} | {row['connections']} | {bounds} | +{more:.0%} |")
    return "\n".join(lines) + "\n"


def memory(results: dict) -> str:
    found = results["memory"]
    # What comes first is growth up to a working size, which is no leak.
    settled = [size for seconds, size in found["samples"] if seconds > found["seconds"] / 10]
    settled = settled or [found["peak"]]
    middle_size = statistics.median(settled)
    below, above = min(settled) / middle_size - 1, max(settled) / middle_size - 1
    return f"""## Memory

A fresh server, {found['precision']}, all-MiniLM-L6-v2 and nothing else loaded, all workers, under full load with
texts of 3 to 256 tokens for {found['seconds']:.0f} s ({found['sentences']:,} sentences). Resident size, taken once a second:

| when ready | after a tenth of the time: median | least, greatest | at the end | peak |
|---:|---:|---:|---:|---:|
| {megabytes(found['ready'])} | {megabytes(middle_size)} | {below:+.1%}, {above:+.1%} | {megabytes(settled[-1])} | {megabytes(found['peak'])} |
"""


def peers(results: dict) -> str:
    lines = [
        "## How the others were run",
        "",
        "Each in the fastest of the settings that were tried on a quarter of the sentences; all that were",
        "tried are in the JSON.",
        "",
        "| | version | settings | |",
        "|---|---|---|---|",
    ]
    for peer in results["peers"]:
        settings = ", ".join(f"{name} {value}" for name, value in peer["settings"].items())
        name = f"{peer['name']} {peer['precision']}"
        lines.append(f"| {name} | {peer['version']} | {settings} | {peer['notes']} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


def three(values: dict) -> str:
    return f"{values['median']:,.0f} ({values['min']:,.0f}–{values['max']:,.0f})"


def median_of(throughput: dict) -> float:
    return throughput["tokens_per_second"]["median"]


def middle(samples: list[dict], key: str) -> float:
    return statistics.median(sample[key] for sample in samples)


def times(samples: list[dict], key: str) -> str:
    return milliseconds(middle(samples, key))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f} ms"


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


def gigabytes(size: float) -> str:
    return f"{size / 2**30:.0f} GiB"
