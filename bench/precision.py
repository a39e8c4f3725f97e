#!/usr/bin/env python3
"""Trains the same style in every precision and with several seeds, and
compares the losses on photos held out: what a fast path may cost must be less
than what another seed changes.

usage: bench/precision.py --photos DIR --style FILE --vgg FILE [options]
after make build. Prints a markdown table; every run's evaluations go to
bench/results/precision.json.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODES = {  # --set arguments
    'float32 direct': ['train.exact=true'],
    'float32 Winograd': ['train.exact=false'],
    'bf16': ['train.exact=false', 'train.precision=bf16'],
}


def train(binary, args, mode, seed, folder):
    """Returns the mean evaluation of the last third of a run."""
    out = os.path.join(folder, f'{mode}-{seed}'.replace(' ', '-'))
    sets = [f'data.dir={args.photos}', f'data.size={args.size}', f'data.holdout={args.holdout}', f'style.image={args.style}', f'vgg.weights={args.vgg}',
            f'train.steps={args.steps}', f'train.seed={seed}', f'train.checkpoint_every={max(1, args.steps // 9)}', 'train.preview_every=0', *MODES[mode]]
    command = [binary, 'train', 'parity', '--out', out]
    for s in sets:
        command += ['--set', s]
    p = subprocess.run(command, text=True, capture_output=True)
    if p.returncode:
        sys.exit(f'precision: {" ".join(command)}: {p.stderr[-2000:]}')
    with open(os.path.join(out, 'eval.jsonl')) as f:
        lines = [json.loads(line) for line in f]
    last = [e for e in lines if e['step'] >= args.steps * 2 / 3]
    result = {'mode': mode, 'seed': seed, 'evaluations': lines, 'total': statistics.mean(e['loss'] for e in last)}
    print(f'{mode}, seed {seed}: {result["total"]:.0f}', file=sys.stderr, flush=True)
    return result


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--photos', required=True)
    a.add_argument('--holdout', required=True, help='a folder of photos to evaluate on')
    a.add_argument('--style', required=True)
    a.add_argument('--vgg', required=True)
    a.add_argument('--steps', type=int, default=300)
    a.add_argument('--size', type=int, default=128)
    a.add_argument('--seeds', type=int, default=3)
    a.add_argument('--modes', default=','.join(MODES))
    args = a.parse_args()
    binary = os.path.join(HERE, '..', 'bin', 'stylenet')
    modes = args.modes.split(',')
    with tempfile.TemporaryDirectory() as folder:
        runs = [train(binary, args, mode, seed, folder) for seed in range(1, args.seeds + 1) for mode in modes]
    os.makedirs(os.path.join(HERE, 'results'), exist_ok=True)
    with open(os.path.join(HERE, 'results', 'precision.json'), 'w') as f:
        json.dump({'steps': args.steps, 'size': args.size, 'runs': runs}, f, indent=1)
    print(f'| kernels | {" | ".join(f"seed {s}" for s in range(1, args.seeds + 1))} | mean |')
    print('|---|' + '---|' * (args.seeds + 1))
    for mode in modes:
        totals = [r['total'] for r in runs if r['mode'] == mode]
        print(f'| {mode} | {" | ".join(f"{t:,.0f}" for t in totals)} | {statistics.mean(totals):,.0f} |')


main()
