#!/usr/bin/env python3
"""Compares the working tree with an older commit by counting instructions.

usage: make bench-regress REF=COMMIT, or bench/regress.py COMMIT [options]

Times on a shared machine vary by more than most changes are worth; instruction
counts of one thread hardly vary at all. Both versions run small pieces of work
under valgrind, which counts. Where a workload says "each", the count is the
difference between more and fewer repetitions, so that starting up is left out.

Valgrind knows AVX2 and not AVX-512: it is the AVX2 kernels that are counted,
and the code that all instruction sets share. It computes fused multiply-adds
in software, which is why the pictures are tiny. The counts say nothing of
memory and caches: `make bench-compare` does.
"""
import argparse, array, concurrent.futures, json, math, os, random, re, struct, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

# One thread everywhere, and no collections of garbage that depend on timing.
# Go's signals for preemption disturb valgrind. GOMP_SPINCOUNT is set
# because stylenet starts itself anew without it, out of valgrind's sight.
ENV = {'GODEBUG': 'asyncpreemptoff=1', 'GOMAXPROCS': '1', 'GOGC': 'off', 'GOMP_SPINCOUNT': '1000', 'OMP_NUM_THREADS': '1'}
TRAIN = ['train', 'parity', '--set', 'data.dir={photos}', '--set', 'style.image={photos}/000.jpg', '--set', 'style.size=32', '--set', 'data.size=32',
         '--set', 'vgg.weights={vgg}', '--set', 'vgg.convention=caffe', '--set', 'train.batch=1', '--set', 'train.checkpoint_every=0', '--set', 'train.preview_every=0',
         '--set', 'network.architecture=c9s1-16,d16,R16,u16,c9s1-3', '--set', 'loss.content.layers={relu1_2: 1}', '--set', 'loss.style.layers={relu1_2: 1, relu2_1: 1}']
STYLIZE = ['bench', 'stylize', '--model', '{model}', '--size', '16']


def repeated(command, option, more, fewer=1):
    """A command at two numbers of repetitions."""
    return [[*command, *(o.format(n) for o in option)] for n in (more, fewer)], more - fewer


# The name, the commands (one, or more and fewer repetitions) and their
# difference in repetitions.
RUNS, STEPS = ['--runs', '{}'], ['--set', 'train.steps={}', '--out', '{{folder}}/run{}']
WORKLOADS = [
    ('stylize a 16² picture, whole process', [['stylize', '--model', '{model}', '{picture}', '-o', '{folder}/out.png']], 1),
    ('stylize 16², each', *repeated(STYLIZE, RUNS, 5)),
    ('stylize 16² with --exact, each', *repeated([*STYLIZE, '--exact'], RUNS, 5)),
    ('a 640×480 JPEG read and shrunk to 16×12', [['stylize', '--model', '{small}', '--max-size', '16', '{photos}/000.jpg', '-o', '{folder}/out.jpg']], 1),
    ('training step, 32², each', *repeated(TRAIN, STEPS, 3)),
    ('export to ONNX', [['export', '{model}', '-o', '{folder}/out.onnx']], 1),
]


class Failed(Exception):
    pass


def fill(word, names):
    """A word of a command with its {names} filled in; YAML has braces, too."""
    return re.sub(r'\{(\w+)\}', lambda m: names[m[1]], word)


def count(binary, command, names):
    """The instructions of one run."""
    with tempfile.TemporaryDirectory() as folder:
        words = [fill(w, {'folder': folder, **names}) for w in command]
        valgrind = ['valgrind', '--tool=cachegrind', '--cache-sim=no', '--cachegrind-out-file=/dev/null', '--fair-sched=yes']
        p = subprocess.run([*valgrind, binary, *words, '--threads', '1'], text=True, capture_output=True, env={**os.environ, **ENV}, cwd=folder)
    found = re.search(r'I +refs: +([\d,]+)', p.stderr)
    if p.returncode or not found:
        said = [l for l in p.stderr.splitlines() if not re.match(r'(==|--)\d+(==|--)', l)]
        raise Failed(f'exit status {p.returncode}: {" ".join(said[:3])}'.strip())
    return int(found[1].replace(',', ''))


def workload(binary, commands, times, names):
    counts = [count(binary, c, names) for c in commands]
    return (counts[0] - sum(counts[1:])) / times


def commit(ref):
    p = subprocess.run(['git', '-C', ROOT, 'rev-parse', '--verify', '--quiet', ref + '^{commit}'], text=True, capture_output=True)
    if p.returncode:
        sys.exit(f'regress: {ref} is no commit of this repository')
    return p.stdout.strip()


def build_commit(ref, folder, out):
    tree, git = os.path.join(folder, 'tree'), ['git', '-C', ROOT, 'worktree']
    subprocess.run([*git, 'add', '--quiet', '--detach', tree, ref], check=True)
    try:
        build(ref, tree, out)
    finally:
        subprocess.run([*git, 'remove', '--force', tree], check=True)


def build(name, tree, out):
    p = subprocess.run([os.environ.get('GO', 'go'), 'build', '-tags', 'onednn', '-trimpath', '-buildvcs=false', '-o', out, './cmd/stylenet'],
                       cwd=tree, env={**os.environ, 'CGO_ENABLED': '1'})
    if p.returncode:
        sys.exit(f'regress: {name} does not build')


def write_vgg(path):
    """VGG-19 with random weights up to relu2_1, as safetensors. stylenet's own
    random VGG-19 would be measured and scaled in every run."""
    draw = random.Random(1)
    header, values = {}, array.array('f')
    for layer, inputs, outputs in ((0, 3, 64), (2, 64, 64), (5, 64, 128)):
        for name, shape in (('weight', [outputs, inputs, 3, 3]), ('bias', [outputs])):
            count, start = math.prod(shape), len(values)
            deviation = (2 / (9 * inputs))**.5 if name == 'weight' else 0
            values.extend(draw.gauss(0, deviation) for _ in range(count))
            header[f'features.{layer}.{name}'] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [4 * start, 4 * len(values)]}
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + values.tobytes())


def prepare(binary, folder):
    """The pictures and models that both versions get, made by the newer one."""
    def run(*words):
        p = subprocess.run([binary, *words], text=True, capture_output=True, cwd=folder)
        if p.returncode:
            sys.exit(f'regress: {" ".join(words)}: {p.stderr}')
    names = {n: os.path.join(folder, f) for n, f in (('photos', 'photos'), ('picture', 'picture.png'), ('model', 'model.safetensors'), ('small', 'small.safetensors'), ('vgg', 'vgg.safetensors'))}
    write_vgg(names['vgg'])
    run('demo', '--data-only', '-o', folder)
    for name, architecture in (('model', 'c9s1-32,d64,d128,R128,R128,R128,R128,R128,u64,u32,c9s1-3'), ('small', 'c1s1-3')):
        out = os.path.join(folder, name)
        run(*[fill(w, names) for w in TRAIN], '--set', 'network.architecture=' + architecture, '--set', 'train.steps=1', '--out', out)
        run('export', out, '-o', names[name])
    run('stylize', '--model', names['small'], os.path.join(names['photos'], '000.jpg'), '--strength', '0', '--max-size', '16', '-o', names['picture'])
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('ref', help='the older commit')
    parser.add_argument('--new', metavar='COMMIT', help='a commit in place of the working tree')
    parser.add_argument('--limit', type=float, default=3, help='percent more instructions that are a failure')
    parser.add_argument('--only', metavar='TEXT', default='', help='only workloads with this text in their name')
    parser.add_argument('--json', metavar='FILE', help='write the counts there, too')
    a = parser.parse_args()
    chosen = [w for w in WORKLOADS if a.only in w[0]]
    if not chosen:
        sys.exit(f'regress: no workload has "{a.only}" in its name: {"; ".join(w[0] for w in WORKLOADS)}')
    ref = commit(a.ref)
    newer = a.new and commit(a.new)
    results, start = [], time.time()
    with tempfile.TemporaryDirectory() as folder:
        binaries = [os.path.join(folder, n) for n in ('old', 'new')]
        build_commit(ref, folder, binaries[0])
        if newer:
            build_commit(newer, folder, binaries[1])
        else:
            build('the working tree', ROOT, binaries[1])
        names = prepare(binaries[1], folder)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:  # counts do not depend on what else runs
            for name, commands, times in chosen:
                pair = [pool.submit(workload, b, commands, times, names) for b in binaries]
                r = {'workload': name}
                for side, future in zip(('old', 'new'), pair):
                    try:
                        r[side] = future.result()
                    except Failed as e:
                        r[side + '_failed'] = str(e)
                results.append(r)
                print(f'regress: {name}: counted', file=sys.stderr, flush=True)
    worse = []
    print(f'| workload | {ref[:10]}, million instructions | {newer[:10] if newer else "working tree"} | change |\n|---|---|---|---|')
    for r in results:
        cells = ['{:.2f}'.format(r[side] / 1e6) if side in r else f'fails: {r[side + "_failed"]}' for side in ('old', 'new')]
        change = ''
        if 'old' in r and 'new' in r:
            percent = 100 * (r['new'] / r['old'] - 1)
            change = f'{percent:+.2f}%'
            if percent > a.limit:
                worse.append(f'{r["workload"]} ({change})')
        elif 'new' not in r:
            worse.append(f'{r["workload"]} (fails)')
        print(f'| {r["workload"]} | {cells[0]} | {cells[1]} | {change} |')
    print(f'regress: {time.time() - start:.0f} s', file=sys.stderr)
    if a.json:
        with open(a.json, 'w') as f:
            json.dump({'ref': ref, 'new': newer, 'results': results}, f, indent=1)
    if worse:
        sys.exit(f'regress: over the limit of {a.limit:+g}%: {"; ".join(worse)}')


if __name__ == '__main__':
    main()
