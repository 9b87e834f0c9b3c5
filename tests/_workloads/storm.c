/* storm T N [RATE]: T threads make N getpgid system calls each, flat out or at RATE calls a second a thread.
 * The argument of call i of thread t is -(t * N + i) - 1 (never a process), so that each event is known by number. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include "gate.h"

#define MOST 64
#define BATCH 64

static long calls;
static double rate;
static pthread_barrier_t start;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *worker(void *argument)
{
	long first = (long)argument * calls;
	double began;

	pthread_barrier_wait(&start);
	began = now();
	for (long i = 0; i < calls; i++) {
		syscall(SYS_getpgid, -(first + i) - 1);
		/* Both look at the clock in user space (vDSO): no further system call is made. */
		while (rate > 0 && i % BATCH == BATCH - 1 && now() < began + i / rate)
			;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long threads = argc > 1 ? atol(argv[1]) : 1;
	pthread_t ids[MOST];
	double began;

	if (threads > MOST)
		return 2;
	calls = argc > 2 ? atol(argv[2]) : 1;
	rate = argc > 3 ? atof(argv[3]) : 0;
	pthread_barrier_init(&start, NULL, threads + 1);
	for (long i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, worker, (void *)i);
	gate();
	began = now();
	pthread_barrier_wait(&start);
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	printf("{\"getpgid\": %ld, \"seconds\": %.6f}\n", threads * calls, now() - began);
	return 0;
}
