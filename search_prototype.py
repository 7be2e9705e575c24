"""Search of the pocket policy: python search_prototype.py NAME TASK SEED key=value ..."""
import sys, json, math, time, types
import numpy as np, torch
from torch import nn, Tensor
from torch.nn import functional as F
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.windows import window_frames
from mp_lib.model.normalizer import Normalizer
from mp_lib.model import mixers as M
from mp_lib.sim.tasks import find_task
from mp_lib.learning.rollout import rollout

D = dict(enc="key", K=32, F=32, hid=(32, 64), fuse=1, temp=4.0, state_h=64, dc=128, d=64, blocks=3, mixer="mamba2", mlp=2, lr=1e-3, steps=3000, batch=64,
         pts=128, obs=2, T=16, exec=8, nsteps=2, snoise=0.0, cnoise=0.0, ema=0.999, wd=1e-4, episodes=50, npts=512, first=20000, drop=0.0, warm=100, shift=0.0, loss="mse", tsample="two", gain=1.0, cdrop=0.0, turn=0.0, rel=0, absin=1)

class PointNetSmall(nn.Module):
    """max features and soft-argmax keypoints; state joins at the first layer"""
    def __init__(s, c, S):
        super().__init__()
        h1, h2 = c.hid
        s.c = c
        s.first = nn.Linear(3 * (c.absin + 2 * c.rel), h1)
        s.kp = 3 * (c.absin + c.rel)
        s.of_state = nn.Linear(S, h1) if c.fuse else None
        s.n1 = nn.LayerNorm(h1)
        s.second = nn.Linear(h1, h2); s.n2 = nn.LayerNorm(h2)
        s.last = nn.Linear(h2, c.K + c.F)
        s.size = s.kp * c.K + c.F
    def forward(s, p, st):  # (M,N,3),(M,S)
        q = []
        if s.c.absin: q.append(p)
        if s.c.rel:
            r = p @ s.W.T + (s.W0 - (st[:, :3] * s.H + s.H0))[:, None]
            q += [torch.tanh(r / .1), torch.tanh(r / .4)]
        x = s.first(torch.cat(q, -1))
        p = torch.cat(q[:s.c.absin + s.c.rel], -1)
        if s.of_state is not None: x = x + s.of_state(st)[:, None]
        x = F.relu(s.n1(x)); x = F.relu(s.n2(s.second(x)))
        o = s.last(x)
        parts = []
        if s.c.K:
            w = torch.softmax(o[..., :s.c.K] * s.c.temp, 1)
            parts.append((w.transpose(1, 2) @ p).flatten(1))
        if s.c.F: parts.append(o[..., s.c.K:].amax(1))
        return torch.cat(parts, -1)

class None_(nn.Module):
    def forward(s, x): return x

class Conv(nn.Module):
    def __init__(s, d):
        super().__init__(); s.i = nn.Linear(d, 2 * d); s.c = nn.Conv1d(2*d, 2*d, 5, padding=2, groups=2*d); s.o = nn.Linear(2*d, d)
    def forward(s, x): return s.o(F.silu(s.c(s.i(x).transpose(1, 2)).transpose(1, 2)))

class TokenMLP(nn.Module):
    def __init__(s, d, T):
        super().__init__(); s.a = nn.Linear(T, 4*T); s.b = nn.Linear(4*T, T)
    def forward(s, x): return s.b(F.gelu(s.a(x.transpose(1, 2)))).transpose(1, 2)

def mixer(c):
    d = c.d
    return {"mamba1": lambda: M.Mamba1(d), "mamba2": lambda: M.Mamba2(d, d_state=32, headdim=16), "hydra": lambda: M.Hydra(d, d_state=16, headdim=16),
            "attention": lambda: M.Attention(d, 4), "conv": lambda: Conv(d), "none": None_, "token": lambda: TokenMLP(d, c.T)}[c.mixer]()

class Block(nn.Module):
    def __init__(s, c):
        super().__init__(); d = c.d
        s.n1, s.n2 = nn.LayerNorm(d, elementwise_affine=False), nn.LayerNorm(d, elementwise_affine=False)
        s.mix = mixer(c); s.up, s.down = nn.Linear(d, c.mlp*d), nn.Linear(c.mlp*d, d)
        s.mod = nn.Linear(c.dc, 6*d)
        nn.init.normal_(s.mod.weight, std=0.02); nn.init.zeros_(s.mod.bias)
        with torch.no_grad(): s.mod.bias[2*d:3*d] = 1; s.mod.bias[5*d:] = 1
    def forward(s, x, cond):
        a, b, g, a2, b2, g2 = s.mod(cond)[:, None].chunk(6, -1)
        x = x + g * s.mix(s.n1(x) * (1 + a) + b)
        return x + g2 * s.down(F.gelu(s.up(s.n2(x) * (1 + a2) + b2)))

class Trunk(nn.Module):
    def __init__(s, c, A, C):
        super().__init__(); d = c.d
        s.inp = nn.Linear(A, d); s.pos = nn.Parameter(torch.randn(c.T, d) * .1)
        s.from_cond = nn.Linear(c.dc, d)
        s.cond = nn.Sequential(nn.Linear(C, c.dc), nn.Mish(), nn.Linear(c.dc, c.dc))
        s.step = nn.Linear(16, c.dc)
        s.blocks = nn.ModuleList(Block(c) for _ in range(c.blocks))
        s.n = nn.LayerNorm(d); s.out = nn.Linear(d, A)
    def forward(s, x, t, cond):
        f = torch.exp(torch.arange(8) * (-math.log(1000) / 7)); e = t[:, None].float() * f
        c = F.mish(s.cond(cond) + s.step(torch.cat([e.sin(), e.cos()], -1)))
        x = s.inp(x) + s.pos + s.from_cond(c)[:, None]
        for b in s.blocks: x = b(x, c)
        return s.out(s.n(x))

def alphas():
    ab = lambda t: math.cos((t + .008) / 1.008 * math.pi / 2) ** 2
    return torch.cumprod(1 - torch.tensor([min(1 - ab((i + 1) / 100) / ab(i / 100), .999) for i in range(100)]), 0)

class Pocket(nn.Module):
    def __init__(s, c, S, A):
        super().__init__(); s.c = c
        if c.enc == "key":
            s.enc = PointNetSmall(c, S); size = s.enc.size
        else:
            from mp_lib.model.encoder import PointNet
            s.pn = PointNet(64, (64, 64, 128)); s.enc = lambda p, st: s.pn(p); size = 64
        s.state = nn.Sequential(nn.Linear(S, c.state_h), nn.ReLU(), nn.Linear(c.state_h, c.state_h))
        s.size = size + c.state_h
        s.register_buffer("fm", torch.zeros(s.size)); s.register_buffer("fs", torch.ones(s.size))
        s.trunk = Trunk(c, A, c.obs * s.size)
        s.norm = Normalizer({"point_cloud": 3, "state": S, "action": A})
        s.a = alphas(); s.device = torch.device("cpu")
        s.config = types.SimpleNamespace(num_points=c.npts, n_obs_steps=c.obs, horizon=c.T, action_dim=A)
        s.times = {1: [99], 2: [99, 49], 4: [99, 74, 49, 24]}[c.nsteps]
    def features(s, p, st):
        return torch.cat([s.enc(p, st), s.state(st)], -1)
    def encode(s, p, st):
        B, To = st.shape[:2]
        f = s.features(p.flatten(0, 1), st.flatten(0, 1))
        return ((f - s.fm) * s.fs).view(B, -1)
    def act(s, batch, noise):
        with torch.no_grad():
            c = s.encode(s.norm.normalize("point_cloud", batch["point_cloud"]), s.norm.normalize("state", batch["state"]))
            x = noise
            for i, t in enumerate(s.times):
                x0 = s.trunk(x, torch.full((len(x),), t), c)
                if i + 1 == len(s.times): x = x0.clamp(-1, 1); break
                nt = s.times[i + 1]
                eps = (x - s.a[t].sqrt() * x0) / (1 - s.a[t]).sqrt()
                x = s.a[nt].sqrt() * x0.clamp(-1, 1) + (1 - s.a[nt]).sqrt() * eps
            acts = s.norm.unnormalize("action", x)
            k = s.c.obs - 1
            return acts[:, k:k + s.c.exec]

def main():
    name, task, seed = sys.argv[1:4]; seed = int(seed)
    c = types.SimpleNamespace(**D)
    for kv in sys.argv[4:]:
        k, v = kv.split("=")
        assert k in D, k
        setattr(c, k, type(D[k])(v) if not isinstance(D[k], tuple) else tuple(map(int, v.split(","))))
    torch.set_num_threads(1); torch.manual_seed(seed)
    data = ReplayBuffer.open(f"data/demos/{task}.zarr").read()
    from zarr import open as zo
    ends = np.asarray(zo(f"data/demos/{task}.zarr", mode="r")["meta/episode_ends"])
    arr = {k: torch.from_numpy(np.ascontiguousarray(data[k], np.float32)) for k in ("point_cloud", "state", "action")}
    fr = torch.from_numpy(window_frames(ends, horizon=c.T, n_obs_steps=c.obs, n_action_steps=c.exec))
    m = Pocket(c, arr["state"].shape[1], arr["action"].shape[1])
    m.norm.fit(arr)
    if c.rel:
        env = find_task(task).make_env(num_points=c.npts); z = env.to_world(np.vstack([np.zeros(3), np.eye(3)]).astype(np.float64)); env.close()
        W = torch.tensor((z[1:] - z[0]).T, dtype=torch.float32); W0 = torch.tensor(z[0], dtype=torch.float32)
        sc, of = m.norm.point_cloud_scale, m.norm.point_cloud_offset  # raw = (p - of) / sc
        m.enc.W = W / sc; m.enc.W0 = W0 - W @ (of / sc)
        m.enc.H = 1 / m.norm.state_scale[:3]; m.enc.H0 = -m.norm.state_offset[:3] / m.norm.state_scale[:3]
    cloud, state, action = (m.norm.normalize(k, arr[k]) for k in ("point_cloud", "state", "action"))
    ema_of = lambda: None
    with torch.no_grad():
        i = torch.linspace(0, len(state) - 1, 400).long()
        f = m.features(cloud[i], state[i]); m.fm.copy_(f.mean(0)); sd = f.std(0); m.fs.copy_(torch.where(sd > 1e-5, 1 / sd, 1.))
    import copy
    avg = copy.deepcopy(m)
    aug = (c.shift or c.turn) and task.startswith("metaworld")
    if aug:
        env = find_task(task).make_env(num_points=c.npts); z = env.to_world(np.vstack([np.zeros(3), np.eye(3)]).astype(np.float64)); env.close()
        W = torch.tensor((z[1:] - z[0]).T, dtype=torch.float32); W0 = torch.tensor(z[0], dtype=torch.float32); Wi = torch.linalg.inv(W)
        mid = torch.tensor([0., .7, 0.])
    def rigid(o, b):  # raw cloud, state, action of a batch after a random motion
        n = len(b); p, st, ac = arr["point_cloud"][o], arr["state"][o], arr["action"][fr[b]]
        d = torch.zeros(n, 3); d[:, :2] = c.shift * (2 * torch.rand(n, 2, generator=g) - 1)
        th = math.radians(c.turn) * (2 * torch.rand(n, generator=g) - 1)
        R = torch.zeros(n, 3, 3); R[:, 0, 0] = R[:, 1, 1] = th.cos(); R[:, 0, 1] = -th.sin(); R[:, 1, 0] = th.sin(); R[:, 2, 2] = 1
        move = lambda x: (x - mid) @ R.transpose(1, 2) + (mid + d)[:, None]
        pad = (p == 0).all(-1, keepdim=True)
        w = p.flatten(1, 2) @ W.T + W0
        p = torch.where(pad, p, ((move(w) - W0) @ Wi.T).view_as(p))
        st = move(st.reshape(n, -1, 3)).reshape(st.shape)
        ac = torch.cat([ac[..., :3] @ R.transpose(1, 2), ac[..., 3:]], -1)
        N = m.norm.normalize
        return N("point_cloud", p), N("state", st), N("action", ac)
    n = sum(p.numel() for p in m.parameters())
    opt = torch.optim.AdamW(m.parameters(), lr=c.lr, weight_decay=c.wd, betas=(.9, .99), fused=True)
    t0 = time.process_time(); tot = 0.; g = torch.Generator().manual_seed(seed)
    m.train()
    for step in range(c.steps):
        for gr in opt.param_groups: gr["lr"] = c.lr * (min(1, (step + 1) / c.warm) if step < c.warm else .5 * (1 + math.cos(math.pi * (step - c.warm) / (c.steps - c.warm))))
        b = torch.randint(0, len(fr), (c.batch,), generator=g)
        o = fr[b, :c.obs]
        if aug: p, st, x0 = rigid(o, b)
        else: st, p, x0 = state[o], cloud[o], action[fr[b]]
        if c.pts < p.shape[2]:
            q = torch.randperm(p.shape[2], generator=g)[:c.pts]; p = p[:, :, q]
        if c.snoise: st = st + c.snoise * torch.randn(st.shape, generator=g)
        if c.cnoise: p = p + c.cnoise * torch.randn(p.shape, generator=g)
        if c.tsample == "two": t = torch.tensor(m.times)[torch.randint(0, len(m.times), (c.batch,), generator=g)]
        else: t = torch.randint(0, 100, (c.batch,), generator=g)
        a = m.a[t][:, None, None]; noise = torch.randn(x0.shape, generator=g)
        pred = m.trunk(a.sqrt() * x0 + (1 - a).sqrt() * noise, t, m.encode(p, st))
        loss = F.mse_loss(pred, x0) if c.loss == "mse" else F.smooth_l1_loss(pred, x0, beta=.05)
        loss.backward(); nn.utils.clip_grad_norm_(m.parameters(), 1.); opt.step(); opt.zero_grad(); tot += loss.item()
        with torch.no_grad():
            torch._foreach_lerp_(list(avg.parameters()), list(m.parameters()), 1 - min(c.ema, 1 - (step + 1) ** -.75))
        if step % 500 == 499: print(name, task, step + 1, tot / 500, round(time.process_time() - t0), flush=True); tot = 0.
    train = time.process_time() - t0
    avg.eval(); torch.save(avg.state_dict(), f"data/{name}-{task}-{seed}.pt")
    t1 = time.process_time()
    eps = rollout(avg, find_task(task), range(c.first, c.first + c.episodes))
    r = dict(name=name, task=task, seed=seed, success=sum(e.success for e in eps), episodes=len(eps), train=round(train), evaluate=round(time.process_time() - t1), parameters=n, changed=dict(kv.split("=") for kv in sys.argv[4:]))
    open("data/rows.jsonl", "a").write(json.dumps(r) + "\n"); print(json.dumps(r))
if __name__ == "__main__": main()
