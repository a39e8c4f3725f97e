#!/usr/bin/env python3
"""Measures stylenet beside PyTorch and ONNX Runtime on this machine.

usage: make bench-compare, or bench/compare.py [options] after make build

All programs of one kind of work run in turns, each in a process of its own,
and every round starts with another one: what else the machine does meets all
alike. A ratio is the median over the rounds. Before that it checks that ours
and ONNX Runtime compute the same picture, and looks for the mode in which each
peer is fastest here. Prints a table with the targets; the table and every
measurement go to bench/results.
"""
import argparse, datetime, json, os, platform, shutil, signal, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, '.venv', 'bin', 'python')
RESULTS = os.path.join(HERE, 'results')

# Modes of PyTorch, the fastest of which is measured.
MODES = [['channels-last'] * c + ['compile'] * k for k in (0, 1) for c in (0, 1)]

# Every row of the table: its name, the work, the group of programs that take
# turns, ours and the peer among them, what is compared, and the target.
#
# speed: how many times ours is as fast. memory: how much of the peer's peak ours
# needs. loss: ours beside the peer's. seconds, mib: ours alone, with the ratio
# beside it.
ROWS = [
    ('train', 'training step, batch 4, 256²', 'train', 'ours', 'torch', 'speed', 3),
    ('train-memory', 'its peak memory', 'train', 'ours', 'torch', 'memory', 1),
    ('train-bf16', 'training step, bf16', 'train', 'ours-bf16', 'torch-bf16', 'speed', 2),
    ('train-bf16-fp32', 'training step, bf16 beside float32', 'train', 'ours-bf16', 'torch', 'speed', 5),
    ('stylize-256', 'stylize 256²', '256', 'ours', 'ort', 'speed', 2.5),
    ('stylize-256-torch', 'stylize 256²', '256', 'ours', 'torch', 'speed', None),
    ('stylize-512', 'stylize 512²', '512', 'ours', 'ort', 'speed', 2.5),
    ('stylize-512-torch', 'stylize 512²', '512', 'ours', 'torch', 'speed', None),
    ('stylize-1080p', 'stylize 1920×1080', '1920x1080', 'ours', 'ort', 'speed', 3),
    ('stylize-1080p-torch', 'stylize 1920×1080', '1920x1080', 'ours', 'torch', 'speed', None),
    ('stylize-1080p-memory', 'its peak memory', '1920x1080', 'ours', 'ort', 'mib', 600),
    ('stylize-1080p-bf16', 'stylize 1920×1080, bf16 beside float32', '1920x1080', 'ours-bf16', 'ort', 'speed', 5),
    ('stylize-1080p-bf16-torch', 'stylize 1920×1080, bf16', '1920x1080', 'ours-bf16', 'torch-bf16', 'speed', None),
    ('start', 'a 256² picture, whole process', 'start', 'ours', 'ort', 'seconds', .25),
    ('data', 'training step on photos beside one batch', 'data', 'ours', 'synthetic', 'speed', .95),
    ('optimize', 'optimize 512², an evaluation of L-BFGS', 'optimize', 'ours', 'torch', 'speed', 1),
    ('optimize-loss', 'optimize 512², the loss after 500 evaluations', 'optimize-500', 'ours', 'torch', 'loss', 1),
    ('big', 'a pixel of 12,000×9,000 beside one of 6000×4500', 'big', 'ours', 'small', 'speed', .9),
    ('big-memory', 'its peak memory', 'big', 'ours', 'small', 'mib', 2048),
]
SIZES = ('256', '512', '1920x1080')
LONG = ('big', 'optimize-500')  # groups that take long: one round, and only where they are asked for
BIG, SMALL = (12000, 9000), (6000, 4500)  # both by strips: cost must be linear


class Failed(Exception):
    pass


def run(command, limit=3600):
    """Runs a program: what it printed, its seconds and its peak memory in MiB."""
    # OpenMP of ours, PyTorch and ONNX Runtime gets its threads by options.
    env = {k: v for k, v in os.environ.items() if not k.startswith(('OMP_', 'KMP_', 'GOMP_'))}
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        start = time.perf_counter()
        p = subprocess.Popen(command, stdout=out, stderr=err, text=True, env=env)
        signal.signal(signal.SIGALRM, lambda *_: p.kill())
        signal.alarm(limit)
        _, status, usage = os.wait4(p.pid, 0)
        signal.alarm(0)
        seconds = time.perf_counter() - start
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if p.returncode:
            raise Failed(f'{" ".join(command)}: exit status {p.returncode}\n{err.read()[-2000:]}')
        return out.read(), seconds, usage.ru_maxrss / 1024


def peer(script, *arguments):
    return [VENV, os.path.join(HERE, script), *arguments]


def options(mode):
    return ['--' + o for o in mode]


class Program:
    """One side of a comparison: a benchmark that reports itself as JSON, or,
    with pixels, a command whose whole process is timed."""

    def __init__(self, name, command, pixels=0):
        self.name, self.command, self.pixels = name, command, pixels

    def measure(self):
        out, seconds, peak = run(self.command)
        if self.pixels:
            return {'seconds': seconds, 'rate': self.pixels / seconds, 'peak_mib': peak}
        m = json.loads(out.splitlines()[-1])
        # The kernel's count for both sides, and not what each says of itself.
        return {**m, 'rate': m['images_per_second'], 'peak_mib': peak}


class Repainting(Program):
    """Our optimize: a line of JSON for each step. The first one also binds the
    kernels, and is not timed, as the peer's is not."""

    def measure(self):
        out, _, peak = run(self.command)
        lines = [json.loads(line) for line in out.splitlines()]
        first, last = lines[0], lines[-1]
        seconds = (last['seconds'] - first['seconds']) / (last['step'] - first['step'])
        return {'seconds': seconds, 'rate': 1 / seconds, 'peak_mib': peak, 'first': first['loss'], 'loss': last['loss']}


def best_mode(known, key, script, arguments, always=()):
    """The fastest of a peer's modes, tried once: a mode that fails is out."""
    if key not in known:
        tried = []
        for mode in MODES:
            mode = [*always, *mode]
            try:
                rate = json.loads(run(peer(script, *arguments, *options(mode)), 900)[0].splitlines()[-1])['images_per_second']
            except Failed as e:
                print(f'compare: {key} {" ".join(mode)}: {str(e).splitlines()[-1]}', file=sys.stderr)
                continue
            tried.append({'mode': mode, 'images_per_second': rate})
            print(f'compare: {key} {" ".join(mode) or "plain"}: {rate:.3g} images/s', file=sys.stderr, flush=True)
        if not tried:
            raise Failed(f'{script} runs in no mode')
        known[key] = {'best': max(tried, key=lambda t: t['images_per_second'])['mode'], 'tried': tried}
    return known[key]['best']


def load_modes(facts, again):
    """The modes that were found before with the same peers on this machine."""
    path = os.path.join(RESULTS, 'modes.json')
    with open(os.path.join(HERE, 'peers', 'requirements.txt')) as f:
        about = {'peers': f.read(), 'processor': facts['processor'], 'threads': facts['threads']}
    known = {}
    if os.path.exists(path) and not again:
        with open(path) as f:
            saved = json.load(f)
        known = saved['modes'] if saved['about'] == about else {}

    def save():
        with open(path, 'w') as f:
            json.dump({'about': about, 'modes': known}, f, indent=1)
    return known, save


class Half:
    """One of the two sides that a single benchmark of ours compares itself, in
    turns of its own."""

    def __init__(self, name, program, seconds, twin=None):
        self.name, self.command, self.program, self.key, self.twin, self.waiting = name, program.command, program, seconds, twin, []
        if twin:
            twin.twin = self

    def measure(self):
        if not self.waiting:
            m = self.program.measure()
            for side in (self, self.twin):
                side.waiting.append({**m, 'seconds': m[side.key], 'rate': 1 / m[side.key]})
        return self.waiting.pop()


class Bench:
    """Makes the programs of each group, with what they need."""

    def __init__(self, a, folder, known):
        self.binary, self.known, self.folder, self.tiny, self.vgg = os.path.abspath(a.binary), known, folder, a.tiny, a.vgg
        self.threads = ['--threads', str(a.threads)]
        self.model, self.onnx, self.saved, self.picture = (os.path.join(folder, f) for f in ('model.pth', 'model.onnx', 'model.safetensors', 'picture.png'))
        run(peer('make_model.py', self.model, self.picture))
        for file in (self.onnx, self.saved):
            run([self.binary, 'export', self.model, '-o', file])

    def knows(self, program):
        """Whether the binary has the options of a command: an older one may not."""
        binary, *words = program.command
        if binary != self.binary:
            return True
        text = run([binary, *words[:2 if words[0] == 'bench' else 1], '--help'])[0]
        return all(w in text for w in words if w.startswith('--'))

    def ours(self, *arguments):
        return [self.binary, 'bench', *arguments, '--json', *self.threads]

    def agreement(self):
        """Both must compute the same: every byte within 1 of the other's."""
        ours, theirs = os.path.join(self.folder, 'ours.png'), os.path.join(self.folder, 'theirs.png')
        run([self.binary, 'stylize', '--model', self.model, self.picture, '-o', ours])
        run(peer('ort_stylize.py', self.onnx, '--input', self.picture, '--output', theirs))
        code = ('import sys, numpy as np; from PIL import Image; '
                'a, b = (np.asarray(Image.open(f).convert("RGB"), int) for f in sys.argv[1:]); '
                'print(abs(a - b).max(), b.std())')
        difference, contrast = map(float, run([VENV, '-c', code, ours, theirs])[0].split())
        if difference > 1 or contrast < 20:
            raise Failed(f'stylenet and ONNX Runtime differ by {difference:g} of 255 (contrast {contrast:.0f}): not the same work')
        return difference

    def programs(self, group, wanted):
        """The programs of a group that rows ask for."""
        make = {'train': self.train, 'start': self.start, 'data': self.data, 'big': self.big, 'optimize': self.optimize, 'optimize-500': self.optimize}.get(group) or self.stylize
        return make(group, wanted)

    def train(self, _, wanted):
        work = ['--size', '32' if self.tiny else '256', '--batch', '4', '--steps', '3']
        trial = [*work[:4], '--steps', '2', *self.threads]
        programs = {'ours': Program('float32', self.ours('train', *work)), 'ours-bf16': Program('bf16', self.ours('train', *work, '--precision', 'bf16'))}
        for name, always in (('torch', []), ('torch-bf16', ['bf16'])):
            if name in wanted:
                mode = best_mode(self.known, f'{name} train{" tiny" * self.tiny}', 'torch_train.py', trial, always)
                programs[name] = Program(' '.join(['PyTorch', *mode]), peer('torch_train.py', *work, *self.threads, *options(mode)))
        return programs

    def stylize(self, size, wanted):
        work = ['--size', '32' if self.tiny else size, '--runs', '3' if size == SIZES[-1] else '10']
        programs = {
            'ours': Program('float32', self.ours('stylize', '--model', self.model, *work)),
            'ours-bf16': Program('bf16', self.ours('stylize', '--model', self.model, *work, '--precision', 'bf16')),
            'ort': Program('ONNX Runtime', peer('ort_stylize.py', self.onnx, *work, *self.threads)),
        }
        for name, always in (('torch', []), ('torch-bf16', ['bf16'])):
            if name in wanted:
                # Larger pictures take long to try, and do not change the order.
                trial = ['--size', '32' if self.tiny else min(size, SIZES[1], key=SIZES.index), '--runs', '5', *self.threads]
                mode = best_mode(self.known, f'{name} stylize {trial[1]}', 'torch_stylize.py', trial, always)
                programs[name] = Program(' '.join(['PyTorch', *mode]), peer('torch_stylize.py', *work, *self.threads, *options(mode)))
        return programs

    def optimize(self, group, wanted):
        side, steps = '32' if self.tiny else '512', '500' if group == 'optimize-500' and not self.tiny else '20'
        content, style = (os.path.join(self.folder, f'{what}{side}.png') for what in ('content', 'style'))
        self.draw(content, int(side), int(side))
        self.draw(style, int(side), int(side), seed=2)
        if not self.vgg:
            self.vgg = os.path.join(self.folder, 'vgg.safetensors')
            run(peer('make_vgg.py', self.vgg))
        work = ['--content', content, '--style', style, '--vgg', self.vgg, '--steps', steps, '--history', '20']
        programs = {'ours': Repainting('float32', [self.binary, 'optimize', *work, '--scales', '1', '--size', side, '--set', 'vgg.convention=caffe',
                                                   '-o', os.path.join(self.folder, f'painted{side}.png'), '--json', *self.threads])}
        if 'torch' in wanted:
            mode = best_mode(self.known, f'torch optimize{" tiny" * self.tiny}', 'torch_optimize.py', [*work[:-3], '4', *self.threads])
            programs['torch'] = Program(' '.join(['PyTorch', *mode]), peer('torch_optimize.py', *work, *self.threads, *options(mode)))
        return programs

    def start(self, *_):
        picture, out = os.path.join(self.folder, '256.png'), os.path.join(self.folder, 'out.png')
        self.draw(picture, 256, 256)
        return {
            'ours': Program('float32', [self.binary, 'stylize', '--model', self.saved, picture, '-o', out, *self.threads], 256 * 256),
            'ort': Program('Python, ONNX Runtime', peer('ort_stylize.py', self.onnx, '--input', picture, '--output', out, *self.threads), 256 * 256),
        }

    def data(self, *_):
        program = Program('', self.ours('data', '--against-training', *(['--steps', '2', '--runs', '2'] if self.tiny else [])))
        photos = Half('photos', program, 'step_seconds')
        return {'ours': photos, 'synthetic': Half('one batch', program, 'synthetic_step_seconds', photos)}

    def big(self, *_):
        programs = {}
        for name, (w, h) in (('ours', BIG), ('small', SMALL)):
            if self.tiny:
                w, h = w // 100, h // 100
            picture, out = (os.path.join(self.folder, f'{which}{w}.jpg') for which in ('', 'out'))
            self.draw(picture, w, h)
            programs[name] = Program(f'{w}×{h}', [self.binary, 'stylize', '--model', self.saved, picture, '-o', out, *self.threads], w * h)
        return programs

    def draw(self, path, w, h, seed=1):
        code = ('import sys, numpy as np; from PIL import Image; f, w, h, seed = sys.argv[1], *map(int, sys.argv[2:]); '
                'tile = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8); '
                'Image.fromarray(tile).resize((w, h), Image.BICUBIC).save(f, quality=90)')
        run([VENV, '-c', code, path, str(w), str(h), str(seed)])


def rounds(group, programs, count):
    """Measures programs in turns; the first one changes from round to round."""
    measured = {name: [] for name in programs}
    for i in range(count):
        order = list(programs)
        order = order[i % len(order):] + order[:i % len(order)]
        for name in order:
            m = programs[name].measure()
            measured[name].append(m)
            print(f'{group}: {name} {m["seconds"]:.4f} s, {m["peak_mib"]:.0f} MiB', file=sys.stderr, flush=True)
    return measured


def judge(row, programs, measured):
    """One row of the table, of the group's measurements."""
    name, work, group, ours, theirs, what, target = row
    key = {'memory': 'peak_mib', 'mib': 'peak_mib', 'loss': 'loss'}.get(what, 'rate')
    ratios = [a[key] / b[key] for a, b in zip(measured[ours], measured[theirs])]
    median = {side: {k: statistics.median(m[k] for m in measured[side]) for k in ('seconds', 'rate', 'peak_mib', 'loss') if k in measured[side][0]} for side in (ours, theirs)}
    ratio = statistics.median(ratios)
    value = {'seconds': median[ours]['seconds'], 'mib': median[ours]['peak_mib']}.get(what, ratio)
    met = None if target is None else value >= target if what == 'speed' else value <= target if what == 'loss' else value < target
    if 'images_per_second_core' in measured[ours][0]:
        work += ' ({:.0f} crops/s a core)'.format(statistics.median(m['images_per_second_core'] for m in measured[ours]))
    return {
        'row': name, 'work': work, 'what': what, 'pairs': len(ratios), 'target': target, 'met': met,
        'ours': {'name': programs[ours].name, **median[ours]},
        'theirs': {'name': programs[theirs].name, 'version': measured[theirs][0].get('version'), **median[theirs]},
        'ratio': ratio, 'ratio_least': min(ratios), 'ratio_most': max(ratios),
    }


def table(results):
    lines = ['| work | ours | peer | ratio (least to most) | target | | our peak, MiB | its |', '|---|---|---|---|---|---|---|---|']
    for r in results:
        want = {'speed': 'at least {:g}×', 'memory': 'under {:g}×', 'seconds': 'under {:g} s', 'mib': 'under {:g} MiB', 'loss': 'at most {:g}×'}[r['what']]
        version = (r['theirs']['version'] or '').split('+')[0]
        amount = {'memory': '{peak_mib:.0f} MiB', 'mib': '{peak_mib:.0f} MiB', 'loss': '{loss:.4g}'}.get(r['what'], '{seconds:.3g} s')
        if not r['row'].startswith('big') or amount.endswith('MiB'):
            sides = [amount.format(**r[side]) for side in ('ours', 'theirs')]
        else:
            sides = ['{:.3g} s/MP'.format(1e6 / r[side]['rate']) for side in ('ours', 'theirs')]
        lines.append('| {} | {}, {} | {}, {} | **{:.2f}** ({:.2f} to {:.2f}) | {} | {} | {:.0f} | {:.0f} |'.format(
            r['work'], r['ours']['name'], sides[0], r['theirs']['name'].replace('PyTorch', f'PyTorch {version}').replace('ONNX Runtime', f'ONNX Runtime {version}'.rstrip()),
            sides[1], r['ratio'], r['ratio_least'], r['ratio_most'], '' if r['target'] is None else want.format(r['target']),
            {None: '', True: 'ok', False: 'short'}[r['met']], r['ours']['peak_mib'], r['theirs']['peak_mib']))
    return '\n'.join(lines)


def machine(threads):
    processor = platform.processor()
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as f:
            processor = next((line.split(':')[1].strip() for line in f if line.startswith('model name')), processor)
    return {'processor': processor, 'threads': threads, 'system': platform.platform(), 'load_before': os.getloadavg()[0]}


def select(rows, only, big):
    names = [r[0] for r in rows]
    if only:
        unknown = [o for o in only.split(',') if o not in names]
        if unknown:
            sys.exit(f'compare: no row {", ".join(unknown)}: there are {", ".join(names)}')
        return [r for r in rows if r[0] in only.split(',')]
    return [r for r in rows if big or r[2] not in LONG]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--binary', default=os.path.join(HERE, '..', 'bin', 'stylenet'))
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())
    parser.add_argument('--only', metavar='ROW,...', help='rows to measure: ' + ', '.join(r[0] for r in ROWS))
    parser.add_argument('--pairs', type=int, default=5, help='rounds in which every program runs once')
    parser.add_argument('--big', action='store_true', help='also what takes long, one round: the picture of 12,000×9,000 pixels, 500 steps of optimize')
    parser.add_argument('--vgg', metavar='FILE', help="VGG-19's weights for optimize, as safetensors for RGB 0-255 (default: random ones)")
    parser.add_argument('--again', action='store_true', help="look anew for the peers' fastest modes")
    parser.add_argument('--check', action='store_true', help='exit status 1 where a target is missed')
    parser.add_argument('--tiny', action='store_true', help='tiny work, to try this script')
    a = parser.parse_args()
    if not shutil.which(os.path.abspath(a.binary)):
        sys.exit(f'compare: {a.binary} is not there: make build')
    rows = select(ROWS, a.only, a.big)
    facts = machine(a.threads)
    if facts['load_before'] > .5:
        print(f'compare: the machine is busy (load {facts["load_before"]:.1f}): the figures will be rough', file=sys.stderr)
    subprocess.run([os.path.join(HERE, 'peers', 'setup.sh')], check=True)
    os.makedirs(RESULTS, exist_ok=True)
    known, save = load_modes(facts, a.again)
    results, everything = [], {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(a, folder, known)
        difference = bench.agreement()
        print(f'compare: stylenet and ONNX Runtime agree within {difference:g} of 255', file=sys.stderr)
        for group in dict.fromkeys(r[2] for r in rows):
            mine = [r for r in rows if r[2] == group]
            wanted = {side for r in mine for side in r[3:5]}
            programs = {name: p for name, p in bench.programs(group, wanted).items() if name in wanted}
            save()
            unknown = {name for name, p in programs.items() if not bench.knows(p)}
            for r in [r for r in mine if unknown & set(r[3:5])]:
                print(f'compare: {r[0]}: this binary has no such option', file=sys.stderr)
                mine.remove(r)
            wanted = {side for r in mine for side in r[3:5]}
            programs = {name: p for name, p in programs.items() if name in wanted}
            if not mine:
                continue
            measured = everything[group] = rounds(group, programs, 1 if group in LONG else a.pairs)
            results += [judge(r, programs, measured) for r in mine]
    text = table(results)
    facts.update(date=datetime.datetime.now().astimezone().isoformat(timespec='seconds'), stylenet=run([bench.binary, 'version'])[0].strip(),
                 agreement_of_255=difference, load_after=os.getloadavg()[0], tiny=a.tiny)
    print(text)
    base = os.path.join(RESULTS, datetime.datetime.now().strftime('%Y%m%d-%H%M%S'))
    with open(base + '.json', 'w') as f:
        json.dump({'machine': facts, 'modes': known, 'results': results, 'measured': everything}, f, indent=1)
    with open(base + '.md', 'w') as f:
        f.write(text + '\n')
    print(f'compare: wrote {os.path.relpath(base)}.json and .md', file=sys.stderr)
    short = [r['row'] for r in results if r['met'] is False]
    if short:
        print(f'compare: short of the target: {", ".join(short)}', file=sys.stderr)
        if a.check:
            sys.exit(1)


if __name__ == '__main__':
    try:
        main()
    except Failed as e:
        sys.exit(f'compare: {e}')
