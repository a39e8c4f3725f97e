#!/usr/bin/env python3
"""Fills the tables of docs/performance.md from bench/results.

usage: bench/update_docs.py

Every table stands between <!-- bench:NAME --> and <!-- /bench -->. "compare"
takes each row's newest measurement by bench/compare.py, other names the file
NAME.md of bench/results, which the make targets write. A name without results
is left as it is.
"""
import glob, json, os, re, sys

import compare

DOCS = os.path.join(os.path.dirname(compare.HERE), 'docs', 'performance.md')


def compared():
    """The table of all rows, each of its newest measurement, and what was
    measured on."""
    newest, machines = {}, []
    for path in sorted(glob.glob(os.path.join(compare.RESULTS, '[0-9]*.json'))):
        with open(path) as f:
            data = json.load(f)
        if data['machine'].get('tiny', True):  # of trying the script, or by an older one
            continue
        newest.update({r['row']: (r, data['machine']) for r in data['results']})
    rows = [newest[r[0]] for r in compare.ROWS if r[0] in newest]
    if not rows:
        return None
    for _, m in rows:
        line = (f'{m["date"][:10]}, {m["threads"]} threads of {m["processor"]}, {m["stylenet"]}; ours and ONNX Runtime agree within '
                f'{m["agreement_of_255"]:g} of 255; load {m["load_before"]:.1f} before, with the comparison\'s own {m["load_after"]:.1f} after.')
        if line not in machines:
            machines.append(line)
    pairs = sorted({r['pairs'] for r, _ in rows})
    counted = f'Medians over {" or ".join(map(str, pairs))} rounds, least and most in brackets.'
    return '\n'.join([compare.table([r for r, _ in rows]), '', counted, 'Measured ' + ' '.join(machines)])


def section(name):
    if name == 'compare':
        return compared()
    path = os.path.join(compare.RESULTS, name + '.md')
    if not os.path.exists(path):
        return None
    with open(path) as f:
        return f.read().strip()


def main():
    with open(DOCS) as f:
        text = f.read()

    def fill(match):
        body = section(match[1])
        if body is None:
            print(f'update_docs: no results for {match[1]}', file=sys.stderr)
            return match[0]
        return f'<!-- bench:{match[1]} -->\n\n{body}\n\n<!-- /bench -->'
    filled = re.sub(r'<!-- bench:([\w-]+) -->.*?<!-- /bench -->', fill, text, flags=re.S)
    if filled != text:
        with open(DOCS, 'w') as f:
            f.write(filled)


if __name__ == '__main__':
    main()
