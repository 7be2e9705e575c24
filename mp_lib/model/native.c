// Inner loops for a CPU, float32: of the mixers and of Mish forward and backward, of the encoder forward. What torch does
// in one pass over memory an operation is done in one pass in all. Built and called by native.py, which also says which
// shapes each array has.
//
// All arrays are row-major with the channels D last; D is a multiple of UNIT, so that a vector is W channels of one step.
// Each function works on the samples (or rows) first to last-1, so that threads can share the work; sums over samples
// are added to arrays of the thread's own. Each returns 0, or 1 where there is no memory for its states.

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// As wide as the processor's registers: of wider vectors compilers keep what a loop carries in memory.
#if defined __AVX512F__
enum { W = 16 };
#elif defined __AVX__
enum { W = 8 };
#else
enum { W = 4 };
#endif
enum { UNIT = 16 }; // WIDTH of native.py: what D, and the number of numbers that mish takes, is a multiple of
typedef float vec __attribute__((vector_size(4 * W)));
typedef int bits __attribute__((vector_size(4 * W)));
typedef float loose __attribute__((vector_size(4 * W), aligned(4), may_alias));

static inline vec load(const float *from) { return *(const loose *)from; }
static inline void store(float *to, vec x) { *(loose *)to = x; }
static inline vec splat(float x) { return (vec){0} + x; }
static inline vec choose(bits mask, vec yes, vec no) { return (vec)((mask & (bits)yes) | (~mask & (bits)no)); }

static inline float total(vec x) {
    float sum = 0;
    for (int i = 0; i < W; i++) sum += x[i];
    return sum;
}

// e^x to 1e-7 of its value: e^x = 2^n e^r with |r| <= ln(2)/2, e^r by its Taylor series to r^7. Arguments are held within
// +-87, where float32 has numbers; a NaN stays one.
static inline vec exponential(vec x) {
    x = choose(x < -87.0f, splat(-87.0f), x);
    x = choose(x > 87.0f, splat(87.0f), x);
    const vec shifted = x * 1.442695041f + 12582912.0f; // 1.5 * 2^23: the sum's last bits are n
    const vec n = shifted - 12582912.0f;
    const vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f; // ln(2) in two parts
    vec series = splat(1.0f / 5040);
    series = series * r + 1.0f / 720;
    series = series * r + 1.0f / 120;
    series = series * r + 1.0f / 24;
    series = series * r + 1.0f / 6;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    return series * (vec)(((bits)shifted - 0x4B400000 + 127) << 23);
}

static inline vec sigmoid(vec x) { return 1.0f / (1.0f + exponential(-x)); }

// log(1 + e^x) = max(x, 0) + log(1 + e) with e = e^-|x|; log(1 + e) = 2 artanh(s), s = e / (2 + e) <= 1/3, by its series.
static inline vec softplus(vec x) {
    const bits positive = x > 0.0f;
    const vec e = exponential(choose(positive, -x, x)), s = e / (2.0f + e), square = s * s;
    vec series = splat(1.0f / 15);
    for (int odd = 13; odd > 0; odd -= 2) series = series * square + 1.0f / odd;
    return choose(positive, x, splat(0.0f)) + 2.0f * s * series;
}

// What dt is before softplus: the D x R matrix `weight` (here R, D) times R numbers of `low`, and a bias.
static inline vec projected(const float *low, long R, const float *weight, const float *bias, long D) {
    vec sum = load(bias);
    for (long r = 0; r < R; r++) sum += low[r] * load(weight + r * D);
    return sum;
}

// Mamba-1's selective scan: dt = softplus(weight low + bias), h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t,
// y_t = C_t h_t + skip u_t, from the last step to the first if backwards.
// u, y (samples, L, D); selected (samples, L, R + 2 N) is low, B and C side by side; weight (R, D), bias (D,), A (N, D),
// skip (D,).
int scan(long first, long last, long L, long D, long N, long R, long backwards, const float *u, const float *selected,
          const float *weight, const float *bias, const float *A, const float *skip, float *y) {
    vec *state = aligned_alloc(sizeof(vec), N * sizeof(vec));
    if (!state) return 1;
    for (long b = first; b < last; b++)
        for (long d = 0; d < D; d += W) {
            memset(state, 0, N * sizeof(vec));
            for (long k = 0; k < L; k++) {
                const long row = b * L + (backwards ? L - 1 - k : k);
                const float *low = selected + row * (R + 2 * N), *B = low + R, *C = B + N;
                const vec dt = softplus(projected(low, R, weight + d, bias + d, D));
                const vec input = load(u + row * D + d), drive = dt * input;
                vec sum = load(skip + d) * input;
                for (long n = 0; n < N; n++) {
                    state[n] = exponential(dt * load(A + n * D + d)) * state[n] + B[n] * drive;
                    sum += C[n] * state[n];
                }
                store(y + row * D + d, sum);
            }
        }
    free(state);
    return 0;
}

// Its gradient: of gy to gu (samples, L, D) and gselected (samples, L, R + 2 N), and, added, to gweight (R, D), gbias
// (D,), gA (N, D) and gskip (D,). States and decays are computed again: that takes less time than to write them down
// and read them.
int scan_gradient(long first, long last, long L, long D, long N, long R, long backwards, const float *u,
                   const float *selected, const float *weight, const float *bias, const float *A, const float *skip,
                   const float *gy, float *gu, float *gselected, float *gweight, float *gbias, float *gA,
                   float *gskip) {
    const long size = R + 2 * N;
    vec *room = aligned_alloc(sizeof(vec), (L * (2 * N + size + 2) + N) * sizeof(vec));
    if (!room) return 1;
    vec *state = room, *decay = state + L * N, *sums = decay + L * N; // sums of gselected, still a vector each
    vec *dts = sums + L * size, *slopes = dts + L, *gstate = slopes + L;
    for (long b = first; b < last; b++) {
        memset(sums, 0, L * size * sizeof(vec));
        for (long d = 0; d < D; d += W) {
            for (long k = 0; k < L; k++) {
                const long row = b * L + (backwards ? L - 1 - k : k);
                const float *low = selected + row * size, *B = low + R;
                const vec before = projected(low, R, weight + d, bias + d, D), dt = softplus(before);
                const vec drive = dt * load(u + row * D + d);
                dts[k] = dt;
                slopes[k] = sigmoid(before);
                for (long n = 0; n < N; n++) {
                    const vec kept = exponential(dt * load(A + n * D + d)), added = B[n] * drive;
                    decay[k * N + n] = kept;
                    state[k * N + n] = k ? kept * state[(k - 1) * N + n] + added : added;
                }
            }
            memset(gstate, 0, N * sizeof(vec));
            vec sumbias = load(gbias + d), sumskip = load(gskip + d);
            for (long k = L - 1; k >= 0; k--) {
                const long row = b * L + (backwards ? L - 1 - k : k);
                const float *low = selected + row * size, *B = low + R, *C = B + N;
                vec *sumlow = sums + k * size, *sumB = sumlow + R, *sumC = sumB + N;
                const vec dt = dts[k], input = load(u + row * D + d), drive = dt * input;
                const vec gout = load(gy + row * D + d);
                vec gdrive = {0}, gdt = {0};
                for (long n = 0; n < N; n++) {
                    const vec g = gstate[n] + C[n] * gout;
                    sumC[n] += gout * state[k * N + n];
                    sumB[n] += g * drive;
                    gdrive += B[n] * g;
                    gstate[n] = g * decay[k * N + n];
                    if (k) {
                        const vec gexponent = gstate[n] * state[(k - 1) * N + n];
                        gdt += gexponent * load(A + n * D + d);
                        store(gA + n * D + d, load(gA + n * D + d) + gexponent * dt);
                    }
                }
                const vec gbefore = (gdt + gdrive * input) * slopes[k];
                for (long r = 0; r < R; r++) {
                    sumlow[r] += gbefore * load(weight + r * D + d);
                    store(gweight + r * D + d, load(gweight + r * D + d) + gbefore * low[r]);
                }
                sumbias += gbefore;
                sumskip += gout * input;
                store(gu + row * D + d, gdrive * dt + gout * load(skip + d));
            }
            store(gbias + d, sumbias);
            store(gskip + d, sumskip);
        }
        for (long k = 0; k < L; k++) {
            const long row = b * L + (backwards ? L - 1 - k : k);
            for (long i = 0; i < size; i++) gselected[row * size + i] = total(sums[k * size + i]);
        }
    }
    free(room);
    return 0;
}

// The sum over K taps of one step's inputs, step - left + k being the k-th; x has rows of `stride` numbers.
static inline vec convolved(const float *x, long stride, long step, long L, long K, long left, const float *weight,
                            const float *bias, long D) {
    vec sum = load(bias);
    for (long k = 0; k < K; k++) {
        const long from = step + k - left;
        if (from >= 0 && from < L) sum += load(x + from * stride) * load(weight + k * D);
    }
    return sum;
}

// SiLU of a depthwise convolution: x (samples, L, D) in rows of `stride` numbers, weight (K, D), bias (D,) -> y.
int conv(long first, long last, long L, long D, long K, long left, long stride, const float *x, const float *weight,
          const float *bias, float *y) {
    for (long b = first; b < last; b++)
        for (long t = 0; t < L; t++)
            for (long d = 0; d < D; d += W) {
                const vec z = convolved(x + b * L * stride + d, stride, t, L, K, left, weight + d, bias + d, D);
                store(y + (b * L + t) * D + d, z * sigmoid(z));
            }
    return 0;
}

// Its gradient: of gy to gx (samples, L, D) and, added, gweight (K, D) and gbias (D,).
int conv_gradient(long first, long last, long L, long D, long K, long left, long stride, const float *x,
                   const float *weight, const float *bias, const float *gy, float *gx, float *gweight, float *gbias) {
    vec *gz = aligned_alloc(sizeof(vec), L * sizeof(vec));
    if (!gz) return 1;
    for (long b = first; b < last; b++)
        for (long d = 0; d < D; d += W) {
            const float *inputs = x + b * L * stride + d;
            vec sum = load(gbias + d);
            for (long t = 0; t < L; t++) {
                const vec z = convolved(inputs, stride, t, L, K, left, weight + d, bias + d, D), s = sigmoid(z);
                gz[t] = load(gy + (b * L + t) * D + d) * (s + z * s * (1.0f - s));
                sum += gz[t];
            }
            store(gbias + d, sum);
            for (long k = 0; k < K; k++) {
                const long low = left - k > 0 ? left - k : 0, high = L + left - k < L ? L + left - k : L;
                vec product = load(gweight + k * D + d);
                for (long t = low; t < high; t++) product += gz[t] * load(inputs + (t + k - left) * stride);
                store(gweight + k * D + d, product);
            }
            for (long t = 0; t < L; t++) {
                vec back = {0};
                for (long k = 0; k < K; k++) {
                    const long to = t - k + left;
                    if (to >= 0 && to < L) back += gz[to] * load(weight + k * D + d);
                }
                store(gx + (b * L + t) * D + d, back);
            }
        }
    free(gz);
    return 0;
}

// Root-mean-square norm with a gate, row by row: norm(y silu(z)) if the gate comes first, norm(y) silu(z) if not.
// y, out (rows, D), z in rows of `stride` numbers, weight (D,), scale (rows,) is 1 / the root of the mean square.
int norm(long first, long last, long D, long stride, long gate_first, float eps, const float *y, const float *z,
          const float *weight, float *out, float *scale) {
    for (long row = first; row < last; row++) {
        vec squares = {0};
        for (long d = 0; d < D; d += W) {
            vec x = load(y + row * D + d);
            const vec gate = load(z + row * stride + d), silu = gate * sigmoid(gate);
            store(out + row * D + d, silu);
            if (gate_first) x *= silu;
            squares += x * x;
        }
        const float r = 1.0f / __builtin_sqrtf(total(squares) / D + eps);
        for (long d = 0; d < D; d += W)
            store(out + row * D + d, load(out + row * D + d) * load(y + row * D + d) * r * load(weight + d));
        scale[row] = r;
    }
    return 0;
}

// Its gradient: of gout to gy, gz (rows, D) and, added, gweight (D,).
int norm_gradient(long first, long last, long D, long stride, long gate_first, const float *y, const float *z,
                   const float *weight, const float *scale, const float *gout, float *gy, float *gz, float *gweight) {
    for (long row = first; row < last; row++) {
        const float r = scale[row];
        vec products = {0};
        for (long d = 0; d < D; d += W) {
            const vec x = load(y + row * D + d), gate = load(z + row * stride + d), s = sigmoid(gate), silu = gate * s;
            const vec g = load(gout + row * D + d), product = g * x * silu;
            store(gweight + d, load(gweight + d) + product * r);
            store(gy + row * D + d, g * load(weight + d) * silu);
            store(gz + row * D + d, gate_first ? s : g * x * load(weight + d) * r * (s + silu * (1.0f - s)));
            products += product * load(weight + d);
        }
        const float pull = total(products) * r * r * r / D;
        for (long d = 0; d < D; d += W) {
            const vec x = load(y + row * D + d), gate = load(z + row * stride + d);
            vec g = load(gy + row * D + d);
            if (gate_first) {
                const vec s = load(gz + row * D + d), silu = gate * s;
                const vec gproduct = load(gout + row * D + d) * load(weight + d) * r - x * silu * pull;
                store(gz + row * D + d, gproduct * x * (s + silu * (1.0f - s)));
                g = gproduct * silu;
            } else {
                g = g * r - x * pull;
            }
            store(gy + row * D + d, g);
        }
    }
    return 0;
}

// tanh(log(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2); from 20 on it is 1.
static inline vec tanh_softplus(vec x) {
    const vec e = exponential(choose(x > 20.0f, splat(20.0f), x)), n = e * (e + 2.0f);
    return n / (n + 2.0f);
}

// x tanh(softplus(x)) of vectors `first` to last-1.
int mish(long first, long last, const float *x, float *y) {
    for (long at = first * UNIT; at < last * UNIT; at += W) {
        const vec value = load(x + at);
        store(y + at, value * tanh_softplus(value));
    }
    return 0;
}

int mish_gradient(long first, long last, const float *x, const float *gy, float *gx) {
    for (long at = first * UNIT; at < last * UNIT; at += W) {
        const vec value = load(x + at), t = tanh_softplus(value);
        store(gx + at, load(gy + at) * (t + value * (1.0f - t * t) * sigmoid(value)));
    }
    return 0;
}

// ReLU of the layer norm of rows x (D,), in place.
int norm_relu(long first, long last, long D, float eps, const float *weight, const float *shift, float *x) {
    for (long row = first; row < last; row++) {
        float *values = x + row * D;
        vec sum = splat(0.0f), squares = splat(0.0f);
        for (long d = 0; d < D; d += W) sum += load(values + d);
        const float mean = total(sum) / D;
        for (long d = 0; d < D; d += W) {
            const vec centred = load(values + d) - mean;
            squares += centred * centred;
        }
        const float scale = 1.0f / __builtin_sqrtf(total(squares) / D + eps);
        for (long d = 0; d < D; d += W) {
            const vec y = (load(values + d) - mean) * scale * load(weight + d) + load(shift + d);
            store(values + d, choose(y < 0.0f, splat(0.0f), y)); // a NaN stays one
        }
    }
    return 0;
}

// The first n of the greatest x[m, n, d], of a NaN if there is one: found (M, D) of x (M, N, D).
int argmax(long first, long last, long N, long D, const float *x, long long *found) {
    int *place = malloc(D * sizeof(int));
    float *best = malloc(D * sizeof(float));
    if (place && best)
        for (long m = first; m < last; m++) {
            const float *cloud = x + m * N * D;
            memcpy(best, cloud, D * sizeof(float));
            memset(place, 0, D * sizeof(int));
            for (long n = 1; n < N; n++)
                for (long d = 0; d < D; d += W) {
                    const vec value = load(cloud + n * D + d), top = load(best + d);
                    const bits taken = (value > top) | ((value != value) & (top == top));
                    const vec at = load((const float *)place + d), here = (vec)((bits){0} + (int)n);
                    store((float *)place + d, choose(taken, here, at));
                    store(best + d, choose(taken, value, top));
                }
            for (long d = 0; d < D; d++) found[m * D + d] = place[d];
        }
    const int failed = !(place && best);
    free(place);
    free(best);
    return failed;
}
