/* threads T N: T threads (named worker-0 ...), each of which calls step(thread, i) N times. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include "gate.h"

#define MOST 64

static pthread_barrier_t start;
static int steps;
static int tids[MOST];
static long sums[MOST];

long step(int thread, long i)
{
	return thread + i;
}

static void *worker(void *argument)
{
	int me = (int)(long)argument;
	char name[16];

	snprintf(name, sizeof(name), "worker-%d", me);
	pthread_setname_np(pthread_self(), name);
	tids[me] = (int)syscall(SYS_gettid);
	pthread_barrier_wait(&start);
	for (long i = 0; i < steps; i++)
		sums[me] += step(me, i);
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 2;
	pthread_t ids[MOST];

	if (threads > MOST)
		return 2;
	steps = argc > 2 ? atoi(argv[2]) : 1;
	pthread_barrier_init(&start, NULL, threads + 1);
	for (long i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, worker, (void *)i);
	gate();
	pthread_barrier_wait(&start);
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	printf("{\"threads\": %d, \"steps\": %d, \"tids\": [", threads, threads * steps);
	for (int i = 0; i < threads; i++)
		printf("%s%d", i ? ", " : "", tids[i]);
	printf("], \"sums\": [");
	for (int i = 0; i < threads; i++)
		printf("%s%ld", i ? ", " : "", sums[i]);
	printf("]}\n");
	return 0;
}
