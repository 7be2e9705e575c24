/* Farthest point sampling in the order and with the ties of mp_lib/point_cloud.py, whose twin in NumPy gives the same
 * indices to the bit: build it with -ffp-contract=off, since a fused multiply-add rounds once where NumPy rounds twice.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 5
#define MOST (1 << LEVELS)

typedef struct {
    long start, end;       /* places of its points */
    float low[3], high[3]; /* the box around them */
    int farthest;          /* bits of the largest distance in it: those of floats from 0 on are ordered as they are */
} Bucket;

static int bits(float value) {
    int same;
    memcpy(&same, &value, sizeof same);
    return same;
}

static void surround(const float *const *axes, Bucket *bucket) {
    for (int axis = 0; axis < 3; axis++) {
        float low = axes[axis][bucket->start], high = low;
        for (long i = bucket->start; i < bucket->end; i++) {
            float value = axes[axis][i];
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        bucket->low[axis] = low;
        bucket->high[axis] = high;
    }
}

static void swap(float *const *axes, int *order, long i, long j) {
    for (int axis = 0; axis < 3; axis++) {
        float value = axes[axis][i];
        axes[axis][i] = axes[axis][j];
        axes[axis][j] = value;
    }
    int index = order[i];
    order[i] = order[j];
    order[j] = index;
}

/* Order the points start to end, and append the buckets that they end in. */
static int split(float *const *axes, int *order, long start, long end, int level, Bucket *buckets, int made) {
    Bucket here = {.start = start, .end = end};
    surround((const float *const *)axes, &here);
    if (level == LEVELS || end - start == 1) {
        buckets[made] = here;
        return made + 1;
    }
    int longest = 0;
    for (int axis = 1; axis < 3; axis++)
        if (here.high[axis] - here.low[axis] > here.high[longest] - here.low[longest]) longest = axis;
    const float *values = axes[longest];
    float sum = 0;
    for (long i = start; i < end; i++) sum += values[i];
    float mean = sum / (float)(end - start);
    long left = start, right = end - 1;
    while (left <= right) {
        while (left <= right && values[left] < mean) left++;
        while (left <= right && !(values[right] < mean)) right--;
        if (left < right) swap(axes, order, left++, right--);
    }
    if (left == start) left++;
    if (left == end) left--;
    made = split(axes, order, start, left, level + 1, buckets, made);
    return split(axes, order, left, end, level + 1, buckets, made);
}

/* The largest distance that the point can lie at from the box, from below: rounding keeps the order of what is rounded,
 * so no point of the box is nearer than this, and one that is not nearer than all others already changes nothing. */
static int beyond(const Bucket *bucket, const float *point) {
    float square[3];
    for (int axis = 0; axis < 3; axis++) {
        float below = bucket->low[axis] - point[axis], above = point[axis] - bucket->high[axis];
        float away = below > above ? below : above;
        away = away > 0 ? away : 0;
        square[axis] = away * away;
    }
    return bits(square[0] + square[1] + square[2]) >= bucket->farthest;
}

static void approach(Bucket *bucket, const float *const *axes, int *distances, const float *point) {
    const float *x = axes[0], *y = axes[1], *z = axes[2];
    int farthest = 0;
    for (long i = bucket->start; i < bucket->end; i++) {
        float dx = x[i] - point[0], dy = y[i] - point[1], dz = z[i] - point[2];
        float distance = dx * dx + dy * dy + dz * dz;
        int now;
        memcpy(&now, &distance, sizeof now);
        now = now < distances[i] ? now : distances[i];
        distances[i] = now;
        farthest = now > farthest ? now : farthest;
    }
    bucket->farthest = farthest;
}

/* chosen (wanted,) of points (count, 3), wanted <= count; 1 if there is no memory. */
int farthest_points(long count, const float *points, long wanted, int *chosen) {
    float *coordinates = malloc(3 * count * sizeof(float));
    int *order = malloc(count * sizeof(int)), *distances = malloc(count * sizeof(int));
    if (!coordinates || !order || !distances) {
        free(coordinates);
        free(order);
        free(distances);
        return 1;
    }
    float *axes[3] = {coordinates, coordinates + count, coordinates + 2 * count};
    for (long i = 0; i < count; i++) {
        for (int axis = 0; axis < 3; axis++) axes[axis][i] = points[3 * i + axis];
        order[i] = (int)i;
        distances[i] = bits(INFINITY);
    }
    Bucket buckets[MOST];
    int made = split(axes, order, 0, count, 0, buckets, 0);
    for (int k = 0; k < made; k++) buckets[k].farthest = bits(INFINITY);
    for (long place = 0, k = 0; k < wanted; k++) {
        chosen[k] = order[place];
        float point[3] = {axes[0][place], axes[1][place], axes[2][place]};
        Bucket *best = buckets;
        for (int b = 0; b < made; b++) {
            if (!beyond(&buckets[b], point)) approach(&buckets[b], (const float *const *)axes, distances, point);
            if (buckets[b].farthest > best->farthest) best = &buckets[b];
        }
        place = best->start;
        while (place < best->end - 1 && distances[place] != best->farthest) place++;
    }
    free(coordinates);
    free(order);
    free(distances);
    return 0;
}
