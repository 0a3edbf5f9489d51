// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel's own timers cost, measured as softclock_bench measures callouts: one operation
 * at a time between two clock reads, the same victims and delays, the same rows. In C, because much
 * of this is inline in C: a Rust caller would pay for calls that no C driver pays for.
 *
 *	row FACILITY OP N COUNT DISTURBED MEAN MIN P50 P99 MAX
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

static unsigned int ops;
module_param(ops, uint, 0444);
MODULE_PARM_DESC(ops, "Operations and expiry with 1, 1000 and so on to this many timers");
static unsigned int late;
module_param(late, uint, 0444);
MODULE_PARM_DESC(late, "Lateness for delays of up to this many seconds");
static unsigned int shared;
module_param(shared, uint, 0444);
MODULE_PARM_DESC(shared, "1: two CPUs with the same timers");
static unsigned int remote;
module_param(remote, uint, 0444);
MODULE_PARM_DESC(remote, "1: timers of the other CPU");
static unsigned int periodic;
module_param(periodic, uint, 0444);
MODULE_PARM_DESC(periodic, "Timers that run again and again, up to this many at once");

/* ---- the meter ---------------------------------------------------------- */

struct meter {
	s64 *samples;
	u32 count, room;
};

/* What two clock reads cost by themselves. */
static s64 clock_p50, clock_mean_100;

static int meter_init(struct meter *m, u32 room)
{
	m->count = 0;
	m->room = room;
	m->samples = kvmalloc_array(room, sizeof(*m->samples), GFP_KERNEL);
	return m->samples ? 0 : -ENOMEM;
}

static void meter_add(struct meter *m, s64 sample)
{
	if (m->count < m->room)
		m->samples[m->count++] = sample;
}

#define TIME(meter, op) do {					\
	ktime_t _start, _end;					\
								\
	_start = ktime_get();					\
	op;							\
	_end = ktime_get();					\
	meter_add(meter, ktime_to_ns(ktime_sub(_end, _start)));	\
} while (0)

static int by_value(const void *a, const void *b)
{
	s64 x = *(const s64 *)a, y = *(const s64 *)b;

	return x < y ? -1 : x > y;
}

static s64 meter_rank(const struct meter *m, u32 percent)
{
	return m->count ? m->samples[(u64)(m->count - 1) * percent / 100] : 0;
}

/* A sample with a tick in it is disturbed and left out, as in meter.rs; others are all kept. */
static s64 meter_mean_100(const struct meter *m, bool clock, u32 *disturbed)
{
	s64 limit = clock ? 2 * meter_rank(m, 50) + 1000 : S64_MAX, sum = 0;
	u32 i;

	for (i = 0; i < m->count && m->samples[i] <= limit; i++)
		sum += m->samples[i];
	*disturbed = m->count - i;
	return i ? div_s64(sum * 100, i) : 0;
}

static void print_row(const char *facility, const char *op, u32 n, u32 count, u32 disturbed,
		      s64 mean_100, const s64 value[4])
{
	pr_info("row %s %s %u %u %u %s%lld.%02lld %lld %lld %lld %lld\n", facility, op, n, count,
		disturbed, mean_100 < 0 ? "-" : "", abs(mean_100) / 100, abs(mean_100) % 100,
		value[0], value[1], value[2], value[3]);
}

/* Prints the row and forgets the samples. */
static void meter_report(struct meter *m, const char *facility, const char *op, u32 n, bool clock)
{
	static const u32 percent[4] = { 0, 50, 99, 100 };
	u32 disturbed, i;
	s64 value[4], mean;

	sort(m->samples, m->count, sizeof(*m->samples), by_value, NULL);
	mean = meter_mean_100(m, clock, &disturbed) - (clock ? clock_mean_100 : 0);
	for (i = 0; i < 4; i++)
		value[i] = meter_rank(m, percent[i]) - (clock ? clock_p50 : 0);
	if (m->count)
		print_row(facility, op, n, m->count, disturbed, mean, value);
	kvfree(m->samples);
}

static void report_100(const char *facility, const char *op, u32 n, s64 value_100)
{
	s64 whole = div_s64(value_100, 100);
	s64 value[4] = { whole, whole, whole, whole };

	print_row(facility, op, n, 1, 0, value_100, value);
}

static int measure_clock(void)
{
	struct meter m;
	u32 i, disturbed;

	if (meter_init(&m, 10000))
		return -ENOMEM;
	for (i = 0; i < 10000; i++)
		TIME(&m, barrier());
	sort(m.samples, m.count, sizeof(*m.samples), by_value, NULL);
	clock_p50 = meter_rank(&m, 50);
	clock_mean_100 = meter_mean_100(&m, true, &disturbed);
	kvfree(m.samples);
	return 0;
}

/* ---- the herd ----------------------------------------------------------- */

struct subject {
	union {
		struct timer_list timer;
		struct hrtimer hrtimer;
		struct delayed_work work;
	};
	s64 due;
	s64 late;
	/* Its callback notes nothing, so that what is measured is not the bench. */
	bool silent;
};

enum facility { TIMER_LIST, HRTIMER, DELAYED_WORK, FACILITIES };

static const char * const name[FACILITIES] = { "timer_list", "hrtimer", "delayed_work" };

static struct subject **herd;
/* The deadline of each: beside it, so that looking it up does not warm the object. */
static s64 *herd_due;
static u32 herd_size, picked;
static u64 seed;

static atomic_long_t fired;
static long expected;
static bool watch;
static s64 first_ns, last_ns;

static u64 below(u64 *state, u64 limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return mul_u64_u64_shr(*state >> 32, limit, 32);
}

static void breathe(u32 count)
{
	if (count % 1000 == 0)
		usleep_range(1000, 1100);
}

static noinline void note_loud(struct subject *s)
{
	long number = atomic_long_fetch_inc_relaxed(&fired);

	if (READ_ONCE(watch))
		WRITE_ONCE(s->late, ktime_get() - READ_ONCE(s->due));
	if (number == 0)
		WRITE_ONCE(first_ns, ktime_get());
	if (number + 1 == READ_ONCE(expected))
		/* Whoever sees it sees first_ns as well. */
		smp_store_release(&last_ns, ktime_get());
}

static __always_inline void note(struct subject *s)
{
	if (!READ_ONCE(s->silent))
		note_loud(s);
}

static void on_timer(struct timer_list *t)
{
	note(container_of(t, struct subject, timer));
}

static enum hrtimer_restart on_hrtimer(struct hrtimer *t)
{
	note(container_of(t, struct subject, hrtimer));
	return HRTIMER_NORESTART;
}

static void on_work(struct work_struct *w)
{
	note(container_of(to_delayed_work(w), struct subject, work));
}

static void expect(u32 count, bool watching)
{
	watch = watching;
	last_ns = 0;
	expected = count;
	atomic_long_set_release(&fired, 0);
}

static int wait_fired(u32 count, u32 seconds)
{
	ktime_t end = ktime_add_ms(ktime_get(), seconds * 1000);

	while (atomic_long_read(&fired) < count) {
		if (ktime_after(ktime_get(), end)) {
			pr_err("only %ld of %u fired\n", atomic_long_read(&fired), count);
			return -EIO;
		}
		msleep(20);
	}
	return 0;
}

static void subject_init(struct subject *s, enum facility f)
{
	switch (f) {
	case TIMER_LIST:
		timer_setup(&s->timer, on_timer, 0);
		break;
	case HRTIMER:
		hrtimer_setup(&s->hrtimer, on_hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);
		break;
	default:
		INIT_DELAYED_WORK(&s->work, on_work);
	}
}

static void arm_at(struct subject *s, enum facility f, s64 due)
{
	unsigned long delay = nsecs_to_jiffies(max_t(s64, due - ktime_get(), 0)) + 1;

	s->due = due;
	switch (f) {
	case TIMER_LIST:
		mod_timer(&s->timer, jiffies + delay);
		break;
	case HRTIMER:
		hrtimer_start_range_ns(&s->hrtimer, due, 0, HRTIMER_MODE_ABS_SOFT);
		break;
	default:
		mod_delayed_work(system_percpu_wq, &s->work, delay);
	}
}

static void cancel(struct subject *s, enum facility f)
{
	switch (f) {
	case TIMER_LIST:
		timer_delete_sync(&s->timer);
		break;
	case HRTIMER:
		hrtimer_cancel(&s->hrtimer);
		break;
	default:
		cancel_delayed_work_sync(&s->work);
	}
}

static void herd_end(enum facility f)
{
	u32 i;

	for (i = 0; i < herd_size; i++) {
		cancel(herd[i], f);
		kfree(herd[i]);
	}
	kvfree(herd);
	kvfree(herd_due);
	herd = NULL;
	herd_due = NULL;
	herd_size = 0;
}

static int herd_begin(u32 count, enum facility f)
{
	seed = 1;
	herd = kvcalloc(count, sizeof(*herd), GFP_KERNEL);
	herd_due = kvcalloc(count, sizeof(*herd_due), GFP_KERNEL);
	if (!herd || !herd_due) {
		herd_end(f);
		return -ENOMEM;
	}
	for (; herd_size < count; herd_size++) {
		herd[herd_size] = kzalloc_obj(struct subject, GFP_KERNEL);
		if (!herd[herd_size]) {
			herd_end(f);
			return -ENOMEM;
		}
		subject_init(herd[herd_size], f);
	}
	return 0;
}

static struct subject *pick(void)
{
	picked = below(&seed, herd_size);
	return herd[picked];
}

static s64 delay_ns(void)
{
	s64 ms = 60000 + below(&seed, 1000000);

	return ms * NSEC_PER_MSEC + below(&seed, 1000000);
}

/* Arms one and takes a note of its deadline, unmeasured. */
static void rearm(enum facility f, u32 index)
{
	herd_due[index] = ktime_get() + delay_ns();
	arm_at(herd[index], f, herd_due[index]);
}

static void fill(enum facility f)
{
	u32 i;

	for (i = 0; i < herd_size; i++) {
		rearm(f, i);
		breathe(i);
	}
}

/* ---- operations --------------------------------------------------------- */

/* What is measured must be what it is called. */
static u32 unexpected;

static void check(bool holds)
{
	unexpected += !holds;
}

/*
 * A delay for the one that was picked, one to a hundred seconds later than it is due: far enough
 * that no queue finds it in its place already.
 */
static s64 later_ns(void)
{
	return herd_due[picked] - ktime_get() + NSEC_PER_SEC +
	       below(&seed, 99 * (u64)NSEC_PER_SEC);
}

static s64 sooner_ns(void)
{
	return 50LL * NSEC_PER_SEC + below(&seed, NSEC_PER_SEC);
}

static int meters_init(struct meter *m, u32 count, u32 room)
{
	u32 i;

	for (i = 0; i < count; i++)
		m[i].samples = NULL;
	for (i = 0; i < count; i++)
		if (meter_init(&m[i], room))
			goto fail;
	return 0;
fail:
	for (i = 0; i < count; i++)
		kvfree(m[i].samples);
	return -ENOMEM;
}

static int ops_timer_list(u32 n, u32 rounds)
{
	enum { STOP, STOP_IDLE, ARM, DRAIN, LATER, SOONER, COUNT };
	static const char * const op[COUNT] = {
		"stop", "stop_idle", "arm", "drain", "later", "sooner",
	};
	struct meter m[COUNT];
	int answer = 0;
	u32 i;

	if (meters_init(m, COUNT, rounds))
		return -ENOMEM;
	for (i = 0; i < rounds; i++) {
		struct timer_list *t = &pick()->timer;
		unsigned long delay = nsecs_to_jiffies(delay_ns());

		TIME(&m[STOP], answer = timer_delete(t));
		check(answer == 1);
		TIME(&m[STOP_IDLE], answer = timer_delete(t));
		check(answer == 0);
		TIME(&m[ARM], mod_timer(t, jiffies + delay));
		breathe(i);
	}
	for (i = 0; i < rounds; i++) {
		struct timer_list *t = &pick()->timer;
		unsigned long delay = nsecs_to_jiffies(delay_ns());

		TIME(&m[DRAIN], answer = timer_delete_sync(t));
		check(answer == 1);
		mod_timer(t, jiffies + delay);
		breathe(i);
	}
	fill(TIMER_LIST);
	for (i = 0; i < rounds; i++) {
		struct timer_list *t = &pick()->timer;
		unsigned long delay = nsecs_to_jiffies(later_ns());

		TIME(&m[LATER], answer = mod_timer(t, jiffies + delay));
		check(answer == 1);
		rearm(TIMER_LIST, picked);
		breathe(i);
	}
	for (i = 0; i < rounds; i++) {
		struct timer_list *t = &pick()->timer;
		unsigned long delay = nsecs_to_jiffies(sooner_ns());

		TIME(&m[SOONER], answer = mod_timer(t, jiffies + delay));
		check(answer == 1);
		rearm(TIMER_LIST, picked);
		breathe(i);
	}
	for (i = 0; i < COUNT; i++)
		meter_report(&m[i], name[TIMER_LIST], op[i], n, true);
	return 0;
}

static int ops_hrtimer(u32 n, u32 rounds)
{
	enum { STOP, STOP_IDLE, ARM_AFTER, ARM_AT, DRAIN, LATER_AFTER, LATER_AT, SOONER_AFTER,
	       SOONER_AT, COUNT };
	static const char * const op[COUNT] = {
		"stop", "stop_idle", "arm_after", "arm_at", "drain", "later_after", "later_at",
		"sooner_after", "sooner_at",
	};
	struct meter m[COUNT];
	int answer = 0;
	u32 i;

	if (meters_init(m, COUNT, rounds))
		return -ENOMEM;
	for (i = 0; i < rounds; i++) {
		struct hrtimer *t = &pick()->hrtimer;
		s64 delay = delay_ns();

		TIME(&m[STOP], answer = hrtimer_try_to_cancel(t));
		check(answer == 1);
		TIME(&m[STOP_IDLE], answer = hrtimer_try_to_cancel(t));
		check(answer == 0);
		TIME(&m[ARM_AFTER], hrtimer_start_range_ns(t, delay, 0, HRTIMER_MODE_REL_SOFT));
		breathe(i);
	}
	for (i = 0; i < rounds; i++) {
		struct hrtimer *t = &pick()->hrtimer;
		s64 due = ktime_get() + delay_ns();

		TIME(&m[DRAIN], answer = hrtimer_cancel(t));
		check(answer == 1);
		TIME(&m[ARM_AT], hrtimer_start_range_ns(t, due, 0, HRTIMER_MODE_ABS_SOFT));
		breathe(i);
	}
	fill(HRTIMER);
	/* The two ways take turns, so that each meets its victims as cold as the other. */
	for (i = 0; i < 2 * rounds; i++) {
		struct hrtimer *t = &pick()->hrtimer;
		s64 delay = later_ns(), due = ktime_get() + delay;

		if (i % 2 == 0)
			TIME(&m[LATER_AFTER],
			     hrtimer_start_range_ns(t, delay, 0, HRTIMER_MODE_REL_SOFT));
		else
			TIME(&m[LATER_AT],
			     hrtimer_start_range_ns(t, due, 0, HRTIMER_MODE_ABS_SOFT));
		rearm(HRTIMER, picked);
		breathe(i);
	}
	for (i = 0; i < 2 * rounds; i++) {
		struct hrtimer *t = &pick()->hrtimer;
		s64 delay = sooner_ns(), due = ktime_get() + delay;

		if (i % 2 == 0)
			TIME(&m[SOONER_AFTER],
			     hrtimer_start_range_ns(t, delay, 0, HRTIMER_MODE_REL_SOFT));
		else
			TIME(&m[SOONER_AT],
			     hrtimer_start_range_ns(t, due, 0, HRTIMER_MODE_ABS_SOFT));
		rearm(HRTIMER, picked);
		breathe(i);
	}
	for (i = 0; i < COUNT; i++)
		meter_report(&m[i], name[HRTIMER], op[i], n, true);
	return 0;
}

static int ops_delayed_work(u32 n, u32 rounds)
{
	enum { STOP, STOP_IDLE, ARM, DRAIN, LATER, SOONER, COUNT };
	static const char * const op[COUNT] = {
		"stop", "stop_idle", "arm", "drain", "later", "sooner",
	};
	struct workqueue_struct *wq = system_percpu_wq;
	struct meter m[COUNT];
	bool answer = false;
	u32 i;

	if (meters_init(m, COUNT, rounds))
		return -ENOMEM;
	for (i = 0; i < rounds; i++) {
		struct delayed_work *w = &pick()->work;
		unsigned long delay = nsecs_to_jiffies(delay_ns());

		TIME(&m[STOP], answer = cancel_delayed_work(w));
		check(answer);
		TIME(&m[STOP_IDLE], answer = cancel_delayed_work(w));
		check(!answer);
		TIME(&m[ARM], answer = queue_delayed_work(wq, w, delay));
		check(answer);
		breathe(i);
	}
	for (i = 0; i < rounds; i++) {
		struct delayed_work *w = &pick()->work;
		unsigned long delay = nsecs_to_jiffies(delay_ns());

		TIME(&m[DRAIN], answer = cancel_delayed_work_sync(w));
		check(answer);
		queue_delayed_work(wq, w, delay);
		breathe(i);
	}
	fill(DELAYED_WORK);
	for (i = 0; i < rounds; i++) {
		struct delayed_work *w = &pick()->work;
		unsigned long delay = nsecs_to_jiffies(later_ns());

		TIME(&m[LATER], answer = mod_delayed_work(wq, w, delay));
		check(answer);
		rearm(DELAYED_WORK, picked);
		breathe(i);
	}
	for (i = 0; i < rounds; i++) {
		struct delayed_work *w = &pick()->work;
		unsigned long delay = nsecs_to_jiffies(sooner_ns());

		TIME(&m[SOONER], answer = mod_delayed_work(wq, w, delay));
		check(answer);
		rearm(DELAYED_WORK, picked);
		breathe(i);
	}
	for (i = 0; i < COUNT; i++)
		meter_report(&m[i], name[DELAYED_WORK], op[i], n, true);
	return 0;
}

static int run_ops(enum facility f, u32 n)
{
	u32 rounds = n == 1 ? 1000 : 20000;
	int err;

	unexpected = 0;
	expect(0, false);
	fill(f);
	switch (f) {
	case TIMER_LIST:
		err = ops_timer_list(n, rounds);
		break;
	case HRTIMER:
		err = ops_hrtimer(n, rounds);
		break;
	default:
		err = ops_delayed_work(n, rounds);
	}
	if (!err && (unexpected || atomic_long_read(&fired))) {
		pr_err("%s: %u unexpected answers, %ld callbacks\n", name[f], unexpected,
		       atomic_long_read(&fired));
		err = -EIO;
	}
	return err;
}

/* ---- expiry ------------------------------------------------------------- */

/* All but the first and the last one note nothing; or all do again. */
static void silence(bool silent)
{
	u32 i;

	for (i = 0; i < herd_size; i++)
		WRITE_ONCE(herd[i]->silent, silent && i && i + 1 < herd_size);
}

#define ALONE 40
#define TURNS 1000

/*
 * Looks at the clock until as many callbacks have come, or so often; for how long, and how often.
 * One function: each of its turns takes as long.
 */
static noinline __noclone s64 look_until(long count, s64 most, s64 *turns)
{
	ktime_t start = ktime_get(), now;
	s64 turn = 0;
	bool over;

	do {
		turn++;
		over = atomic_long_read(&fired) >= count || turn == most;
		now = ktime_get();
	} while (!over);
	*turns = turn;
	return ktime_sub(now, start);
}

/*
 * What the expiry of the only one takes from a task that looks at the clock all the time: with
 * interrupt and softirq, and with the tick where there is no expiry without one.
 */
static int alone(enum facility f)
{
	s64 turn_1000 = S64_MAX, best = S64_MAX, took, turns;
	u32 round;
	int err;

	expect(0, false);
	for (round = 0; round < ALONE; round++)
		turn_1000 = min(turn_1000, look_until(1, TURNS, &turns));
	for (round = 0; round < ALONE; round++) {
		/* Neither the first nor the last one: its callback does not look at the clock. */
		expect(0, false);
		atomic_long_set(&fired, 1);
		arm_at(herd[0], f, ktime_get() + 200 * NSEC_PER_USEC);
		took = look_until(2, TURNS * 100000LL, &turns);
		err = wait_fired(2, 1);
		if (err)
			return err;
		best = min(best, took - div_s64(turns * turn_1000, TURNS));
	}
	report_100(name[f], "expire", 1, max(best, 0) * 100);
	return 0;
}

static int per_callback(enum facility f)
{
	s64 best = S64_MAX, span;
	u32 i, round;
	int err;

	if (herd_size == 1)
		return alone(f);
	silence(true);
	for (round = 0; round < (herd_size > 100000 ? 1 : 3); round++) {
		s64 due = ktime_get() + 500 * NSEC_PER_MSEC + 5000LL * herd_size;
		unsigned long then = jiffies + nsecs_to_jiffies(due - ktime_get());

		expect(2, false);
		for (i = 0; i < herd_size; i++) {
			/* One tick, not two: the volley of those that know only ticks. */
			if (f == TIMER_LIST)
				mod_timer(&herd[i]->timer, then);
			else if (f == DELAYED_WORK)
				mod_delayed_work(system_percpu_wq, &herd[i]->work, then - jiffies);
			else
				arm_at(herd[i], f, due);
		}
		err = wait_fired(2, 600);
		if (err)
			return err;
		/* Pairs with note_loud(). */
		span = smp_load_acquire(&last_ns) - first_ns;
		best = min(best, div_s64(span * 100, herd_size - 1));
	}
	silence(false);
	report_100(name[f], "expire", herd_size, best);
	return 0;
}

#define SAMPLES 400
#define SINGLE_MS 10

static int lateness_of(enum facility f, u64 ms)
{
	u64 spread = min(ms > SINGLE_MS ? ms / 4 : ms, 60000) * NSEC_PER_MSEC;
	struct meter m;
	u32 i;
	int err;

	expect(SAMPLES, true);
	for (i = 0; i < SAMPLES; i++) {
		s64 extra = mul_u64_u64_div_u64(below(&seed, U32_MAX), spread, U32_MAX);

		arm_at(herd[i], f, ktime_get() + ms * NSEC_PER_MSEC + extra);
		if (ms <= SINGLE_MS)
			msleep(2 * ms + 10);
	}
	/* Some are late by an eighth. */
	msleep(ms);
	err = wait_fired(SAMPLES, 120 + ms / 4000);
	if (err || meter_init(&m, SAMPLES))
		return err ?: -ENOMEM;
	for (i = 0; i < SAMPLES; i++)
		meter_add(&m, herd[i]->late);
	meter_report(&m, name[f], "late", ms, false);
	return 0;
}

static int lateness(enum facility f)
{
	static const u32 delays_ms[] = { 1, 10, 100, 1000, 10000, 60000, 600000, 86400000 };
	int err = herd_begin(SAMPLES, f);
	u32 i;

	for (i = 0; !err && i < ARRAY_SIZE(delays_ms) && delays_ms[i] <= late * 1000ULL; i++)
		err = lateness_of(f, delays_ms[i]);
	herd_end(f);
	return err;
}

/* ---- two CPUs ----------------------------------------------------------- */

#define SHARED 2000
#define PAIRS 5000
#define ROUNDS 20
#define REMOTE 500

struct cpu_job {
	enum facility f;
	bool arm_only;
	u64 seed;
	int rounds;
	atomic_t *present;
	int wanted;
	s64 spent[ROUNDS];
	struct completion done;
};

static void stop_and_arm(enum facility f, struct subject *s, u32 index)
{
	u32 ms = 600000 + index;

	if (f == HRTIMER) {
		hrtimer_try_to_cancel(&s->hrtimer);
		hrtimer_start_range_ns(&s->hrtimer, ms_to_ktime(ms), 0, HRTIMER_MODE_REL_SOFT);
	} else {
		timer_delete(&s->timer);
		mod_timer(&s->timer, jiffies + msecs_to_jiffies(ms));
	}
}

static void arm_all_here(enum facility f)
{
	u64 state = 4;
	u32 i;

	for (i = 0; i < herd_size; i++) {
		u32 ms = 60000 + below(&state, 1000000);

		cancel(herd[i], f);
		arm_at(herd[i], f, ktime_get() + ms * NSEC_PER_MSEC);
	}
}

static s64 work_on(struct cpu_job *job)
{
	s64 start = ktime_get();
	u32 i;

	if (job->arm_only)
		arm_all_here(job->f);
	for (i = 0; i < PAIRS && !job->arm_only; i++) {
		u32 index = below(&job->seed, SHARED);

		stop_and_arm(job->f, herd[index], index);
	}
	return ktime_get() - start;
}

static int cpu_thread(void *arg)
{
	struct cpu_job *job = arg;
	int round;

	for (round = 0; round < job->rounds; round++) {
		atomic_inc(job->present);
		while (atomic_read(job->present) < job->wanted * (round + 1))
			cpu_relax();
		job->spent[round] = work_on(job);
	}
	/* The job is on the stack of the one who waits for this. */
	complete(&job->done);
	return 0;
}

static struct task_struct *job_thread(struct cpu_job *job, int cpu)
{
	struct task_struct *task = kthread_create(cpu_thread, job, "softclock_bench/%d", cpu);

	if (!IS_ERR(task))
		kthread_bind(task, cpu);
	return task;
}

/*
 * Runs one or two jobs on consecutive CPUs at the same time; the time of the slower one in the best
 * round. All threads are there before the first one runs, for it waits for the others without
 * letting anybody else run.
 */
static s64 on_cpus(struct cpu_job *jobs, int first, int count)
{
	struct task_struct *task[2];
	atomic_t present = ATOMIC_INIT(0);
	s64 best = S64_MAX;
	int i, round;

	for (i = 0; i < count; i++) {
		jobs[i].present = &present;
		jobs[i].wanted = count;
		init_completion(&jobs[i].done);
		task[i] = job_thread(&jobs[i], first + i);
		if (IS_ERR(task[i])) {
			while (i--)
				kthread_stop(task[i]);
			return S64_MAX;
		}
	}
	for (i = count - 1; i >= 0; i--)
		wake_up_process(task[i]);
	for (i = 0; i < count; i++)
		wait_for_completion(&jobs[i].done);
	for (round = 0; round < jobs[0].rounds; round++)
		best = min(best, max(jobs[0].spent[round], jobs[count - 1].spent[round]));
	return best;
}

static int run_shared(enum facility f)
{
	struct cpu_job jobs[2] = { { .f = f, .seed = 1, .rounds = ROUNDS },
				   { .f = f, .seed = 2, .rounds = ROUNDS } };
	s64 one = S64_MAX, two = S64_MAX;
	int err = herd_begin(SHARED, f);

	if (!err) {
		one = on_cpus(jobs, 0, 1);
		two = on_cpus(jobs, 0, 2);
	}
	herd_end(f);
	if (err || one == S64_MAX || two == S64_MAX)
		return err ?: -ENOMEM;
	report_100(name[f], "pair_one_cpu", SHARED, div_s64(one * 100, PAIRS));
	report_100(name[f], "pair_two_cpus", SHARED, div_s64(two * 100, PAIRS));
	report_100(name[f], "two_cpus_ratio", SHARED, div64_s64(two * 100, one));
	return 0;
}

static void remote_round(enum facility f, struct meter *m)
{
	struct cpu_job job = { .f = f, .arm_only = true, .rounds = 1 };
	u32 i;

	on_cpus(&job, 1, 1);
	for (i = 0; i < REMOTE; i++) {
		struct subject *s = herd[i * 271 % REMOTE];
		s64 delay = sooner_ns(), due = ktime_get() + delay;
		unsigned long then = jiffies + nsecs_to_jiffies(delay);

		if (f == HRTIMER)
			TIME(m, hrtimer_start_range_ns(&s->hrtimer, due, 0, HRTIMER_MODE_ABS_SOFT));
		else
			TIME(m, mod_timer(&s->timer, then));
	}
}

static int run_remote(enum facility f)
{
	int round, err = herd_begin(REMOTE, f);
	struct meter m;

	if (!err)
		err = meter_init(&m, REMOTE * ROUNDS);
	for (round = 0; !err && round < ROUNDS; round++)
		remote_round(f, &m);
	herd_end(f);
	if (!err)
		meter_report(&m, name[f], "sooner_remote", REMOTE, true);
	return err;
}

/* ---- again and again ---------------------------------------------------- */

/* hrtimer_forward() is what drivers use: it keeps to a grid, and counts nothing. */
struct beat {
	struct hrtimer timer;
	struct work_struct work;
	ktime_t period, due;
};

enum beat_mode { BEAT_SOFT, BEAT_HARD, BEAT_TASK, BEAT_MODES };

static const char * const phase_op[BEAT_MODES] = { "phase_soft", "phase_hard", "phase_task" };
static const char * const fire_op[BEAT_MODES] = { "fire_soft", "fire_hard", "fire_task" };
static const char * const load_op[BEAT_MODES] = { "load_soft", "load_hard", "load_task" };

#define BEAT_SAMPLES 2000
static struct meter phases;
static atomic_long_t beats;

static void note_beat(struct beat *b)
{
	if (phases.samples)
		meter_add(&phases, ktime_get() - b->due);
	atomic_long_inc(&beats);
}

static enum hrtimer_restart on_beat(struct hrtimer *t)
{
	struct beat *b = container_of(t, struct beat, timer);

	b->due = hrtimer_get_expires(t);
	note_beat(b);
	hrtimer_forward_now(t, b->period);
	return HRTIMER_RESTART;
}

static void on_beat_work(struct work_struct *w)
{
	note_beat(container_of(w, struct beat, work));
}

static enum hrtimer_restart on_task_beat(struct hrtimer *t)
{
	struct beat *b = container_of(t, struct beat, timer);

	b->due = hrtimer_get_expires(t);
	queue_work(system_dfl_wq, &b->work);
	hrtimer_forward_now(t, b->period);
	return HRTIMER_RESTART;
}

static void beat_begin(struct beat *b, enum beat_mode mode, s64 period_ns, s64 after_ns)
{
	bool soft = mode == BEAT_SOFT;

	b->period = ns_to_ktime(period_ns);
	INIT_WORK(&b->work, on_beat_work);
	hrtimer_setup(&b->timer, mode == BEAT_TASK ? on_task_beat : on_beat, CLOCK_MONOTONIC,
		      soft ? HRTIMER_MODE_REL_SOFT : HRTIMER_MODE_REL_HARD);
	hrtimer_start(&b->timer, ns_to_ktime(after_ns),
		      soft ? HRTIMER_MODE_REL_SOFT : HRTIMER_MODE_REL_HARD);
}

static void beat_end(struct beat *b)
{
	hrtimer_cancel(&b->timer);
	cancel_work_sync(&b->work);
}

static int beat_phase(enum beat_mode mode, u32 period_us)
{
	struct beat *b = kzalloc_obj(struct beat, GFP_KERNEL);
	int err = b ? meter_init(&phases, BEAT_SAMPLES) : -ENOMEM;

	if (!err) {
		beat_begin(b, mode, period_us * 1000LL, period_us * 1000LL);
		while (READ_ONCE(phases.count) < BEAT_SAMPLES)
			msleep(50);
		beat_end(b);
		meter_report(&phases, "hrtimer", phase_op[mode], period_us, false);
		phases.samples = NULL;
	}
	kfree(b);
	return err;
}

#define BEAT_WINDOW (2 * NSEC_PER_SEC)

static s64 watch_clock(void)
{
	ktime_t end = ktime_add_ns(ktime_get(), BEAT_WINDOW);
	s64 turns = 0;

	while (ktime_before(ktime_get(), end))
		turns++;
	return turns;
}

static int beat_stolen(enum beat_mode mode, u32 count, s64 period_ns)
{
	struct beat *all = kvcalloc(count, sizeof(*all), GFP_KERNEL);
	s64 alone, turns, runs, gone;
	u32 i;

	if (!all)
		return -ENOMEM;
	alone = watch_clock();
	for (i = 0; i < count; i++) {
		beat_begin(&all[i], mode, period_ns, period_ns + i * div_u64(period_ns, count));
		breathe(i + 1);
	}
	msleep(2500);
	runs = atomic_long_read(&beats);
	turns = watch_clock();
	runs = atomic_long_read(&beats) - runs;
	for (i = 0; i < count; i++)
		beat_end(&all[i]);
	kvfree(all);
	gone = div64_s64((alone - turns) * BEAT_WINDOW, alone);
	if (runs) {
		report_100("hrtimer", fire_op[mode], count, div64_s64(gone * 100, runs));
		report_100("hrtimer", load_op[mode], count, gone * 100 / 2);
	}
	return 0;
}

static int run_periodic(void)
{
	enum beat_mode mode;
	int err = 0;

	for (mode = 0; !err && mode < BEAT_MODES; mode++) {
		err = beat_phase(mode, 1000);
		if (!err)
			err = beat_phase(mode, 10000);
		if (!err)
			err = beat_stolen(mode, 1, NSEC_PER_MSEC);
	}
	if (!err)
		err = beat_stolen(BEAT_SOFT, periodic, NSEC_PER_SEC);
	return err;
}

/* ---- the whole ---------------------------------------------------------- */

static int sizes(enum facility f)
{
	static const u32 size[] = { 1, 1000, 10000, 100000, 1000000 };
	int err = 0;
	u32 i;

	for (i = 0; !err && i < ARRAY_SIZE(size) && size[i] <= ops; i++) {
		err = herd_begin(size[i], f);
		if (!err)
			err = run_ops(f, size[i]);
		if (!err)
			err = per_callback(f);
		herd_end(f);
	}
	return err;
}

static void print_sizes(void)
{
	report_100("timer_list", "size", 1, 100 * sizeof(struct timer_list));
	report_100("hrtimer", "size", 1, 100 * sizeof(struct hrtimer));
	report_100("delayed_work", "size", 1, 100 * sizeof(struct delayed_work));
}

static int __init baseline_init(void)
{
	enum facility f;
	int err = measure_clock();

	for (f = 0; !err && f < FACILITIES; f++) {
		if (ops)
			err = sizes(f);
		if (!err && late)
			err = lateness(f);
		if (!err && shared && f != DELAYED_WORK)
			err = run_shared(f);
		if (!err && remote && f != DELAYED_WORK)
			err = run_remote(f);
	}
	if (!err && periodic)
		err = run_periodic();
	if (!err && ops)
		print_sizes();
	return err;
}
module_init(baseline_init);

static void __exit baseline_exit(void)
{
}
module_exit(baseline_exit);

MODULE_AUTHOR("softclock maintainers");
MODULE_DESCRIPTION("softclock selftest: what the kernel's own timers cost");
MODULE_LICENSE("GPL");
