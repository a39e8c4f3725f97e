#!/usr/bin/env python3
"""Measures stylenet beside PyTorch and ONNX Runtime on this machine.

usage: make bench-compare, or bench/compare.py [options] after make build

Ours and a peer run in turns, each in a process of its own, which of them first
alternates, and the ratio is the median over the pairs: what else the machine
does meets both alike. Before that it checks that both compute the same
pictures. Prints a table; the table and every measurement go to bench/results.
"""
import argparse, datetime, json, os, platform, shutil, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, '.venv', 'bin', 'python')


def run(command):
    """Runs a program and returns what it printed, or ends with its complaint."""
    # OpenMP of ours, PyTorch and ONNX Runtime gets its threads by options.
    env = {k: v for k, v in os.environ.items() if not k.startswith(('OMP_', 'KMP_', 'GOMP_'))}
    p = subprocess.run(command, text=True, capture_output=True, env=env)
    if p.returncode:
        sys.exit(f'compare: {" ".join(command)}: exit status {p.returncode}\n{p.stderr[-2000:]}')
    return p.stdout


def measure(command):
    return json.loads(run(command).splitlines()[-1])


def peer(script, *arguments):
    return [VENV, os.path.join(HERE, script), *arguments]


def check_agreement(binary, model, onnx, picture, folder):
    """Both must compute the same: every byte within 1 of the other's."""
    ours, theirs = os.path.join(folder, 'ours.png'), os.path.join(folder, 'theirs.png')
    run([binary, 'stylize', '--model', model, picture, '-o', ours])
    run(peer('ort_stylize.py', onnx, '--input', picture, '--output', theirs))
    code = ('import sys, numpy as np; from PIL import Image; '
            'a, b = (np.asarray(Image.open(f).convert("RGB"), int) for f in sys.argv[1:]); '
            'print(abs(a - b).max(), b.std())')
    difference, contrast = map(float, run([VENV, '-c', code, ours, theirs]).split())
    if difference > 1 or contrast < 20:
        sys.exit(f'compare: stylenet and ONNX Runtime differ by {difference:g} of 255 (contrast {contrast:.0f}): not the same work')
    return difference


def pairs(name, ours, their_name, theirs, count):
    """Measures both in turns."""
    measured = []
    for i in range(count):
        first = i % 2 == 0
        a = measure(ours) if first else None
        b = measure(theirs)
        a = a or measure(ours)
        measured.append((a, b))
        print(f'{name}: ours {a["seconds"]:.4f} s, {their_name} {b["seconds"]:.4f} s', file=sys.stderr, flush=True)
    ratios = [a['images_per_second'] / b['images_per_second'] for a, b in measured]

    def median(side, key):
        return statistics.median(m[side][key] for m in measured)
    return {
        'work': name, 'peer': their_name, 'version': measured[0][1]['version'], 'pairs': count,
        'ours': {k: median(0, k) for k in ('seconds', 'images_per_second', 'peak_mib')},
        'theirs': {k: median(1, k) for k in ('seconds', 'images_per_second', 'peak_mib')},
        'ratio': statistics.median(ratios), 'ratio_least': min(ratios), 'ratio_most': max(ratios),
        'measured': measured,
    }


def table(results):
    lines = ['| work | ours, images/s | peer | its images/s | ratio (least to most) | ours, MiB | its MiB |', '|---|---|---|---|---|---|---|']
    for r in results:
        lines.append('| {} | {:.3g} | {} {} | {:.3g} | **{:.2f}** ({:.2f} to {:.2f}) | {:.0f} | {:.0f} |'.format(
            r['work'], r['ours']['images_per_second'], r['peer'], r['version'], r['theirs']['images_per_second'],
            r['ratio'], r['ratio_least'], r['ratio_most'], r['ours']['peak_mib'], r['theirs']['peak_mib']))
    return '\n'.join(lines)


def machine(threads):
    processor = platform.processor()
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as f:
            processor = next((line.split(':')[1].strip() for line in f if line.startswith('model name')), processor)
    return {'processor': processor, 'threads': threads, 'system': platform.platform(), 'load_before': os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--binary', default=os.path.join(HERE, '..', 'bin', 'stylenet'))
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())
    parser.add_argument('--only', choices=['train', 'stylize'])
    parser.add_argument('--sizes', nargs='*', default=['256', '512', '1920x1080'], help='pictures to stylize')
    parser.add_argument('--pairs', type=int, default=5, help='pairs of processes when stylizing')
    parser.add_argument('--train-pairs', type=int, default=3, help='pairs of processes when training')
    parser.add_argument('--torch-options', nargs='*', default=[], choices=['channels-last', 'compile', 'bf16'], help="options of PyTorch's side")
    a = parser.parse_args()
    binary, threads = os.path.abspath(a.binary), ['--threads', str(a.threads)]
    if not shutil.which(binary):
        sys.exit(f'compare: {binary} is not there: make build')
    facts = machine(a.threads)
    if facts['load_before'] > .5:
        print(f'compare: the machine is busy (load {facts["load_before"]:.1f}): the figures will be rough', file=sys.stderr)
    subprocess.run([os.path.join(HERE, 'peers', 'setup.sh')], check=True)
    torch_options = ['--' + o for o in a.torch_options]
    torch_name = ' '.join(['PyTorch', *a.torch_options])
    results = []
    with tempfile.TemporaryDirectory() as folder:
        model, onnx, picture = (os.path.join(folder, f) for f in ('model.pth', 'model.onnx', 'picture.png'))
        run(peer('make_model.py', model, picture))
        run([binary, 'export', model, '-o', onnx])
        difference = check_agreement(binary, model, onnx, picture, folder)
        print(f'compare: stylenet and ONNX Runtime agree within {difference:g} of 255', file=sys.stderr)
        if a.only != 'train':
            for size in a.sizes:
                runs = ['--size', size, '--runs', '3' if size == '1920x1080' else '10', *threads]
                ours = [binary, 'bench', 'stylize', '--model', model, '--json', *runs]
                results.append(pairs(f'stylize {size}', ours, 'ONNX Runtime', peer('ort_stylize.py', onnx, *runs), a.pairs))
                if size == a.sizes[0]:
                    results.append(pairs(f'stylize {size}', ours, torch_name, peer('torch_stylize.py', *runs, *torch_options), a.pairs))
        if a.only != 'stylize':
            work = ['--size', '256', '--batch', '4', '--steps', '5', *threads]
            results.append(pairs('train, batch 4, 256²', [binary, 'bench', 'train', '--json', *work], torch_name,
                                 peer('torch_train.py', *work, *torch_options), a.train_pairs))
    text = table(results)
    facts.update(date=datetime.datetime.now().astimezone().isoformat(timespec='seconds'), stylenet=run([binary, 'version']).strip(),
                 agreement_of_255=difference, load_after=os.getloadavg()[0])
    print(text)
    folder = os.path.join(HERE, 'results')
    os.makedirs(folder, exist_ok=True)
    base = os.path.join(folder, datetime.datetime.now().strftime('%Y%m%d-%H%M%S'))
    with open(base + '.json', 'w') as f:
        json.dump({'machine': facts, 'results': results}, f, indent=1)
    with open(base + '.md', 'w') as f:
        f.write(text + '\n')
    print(f'compare: wrote {os.path.relpath(base)}.json and .md', file=sys.stderr)


if __name__ == '__main__':
    main()
