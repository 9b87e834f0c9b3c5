/* stacks N TIMES: getuid() from N different user stacks of fifteen frames, as often as told. */
#include <stdlib.h>
#include <sys/syscall.h>
#include "gate.h"

static int left(unsigned bits, int depth);

static int right(unsigned bits, int depth)
{
	if (!depth)
		return (int)syscall(SYS_getuid);
	return (bits >> (depth - 1) & 1 ? left(bits, depth - 1) : right(bits, depth - 1)) + 1;
}

static int left(unsigned bits, int depth)
{
	if (!depth)
		return (int)syscall(SYS_getuid);
	return (bits >> (depth - 1) & 1 ? left(bits, depth - 1) : right(bits, depth - 1)) - 1;
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? atoi(argv[1]) : 1;
	int times = argc > 2 ? atoi(argv[2]) : 1;

	gate();
	for (int time = 0; time < times; time++)
		for (unsigned i = 0; i < n; i++)
			right(i, 13);
	printf("{\"different\": %u, \"getuid\": %u}\n", n, n * times);
	return 0;
}
