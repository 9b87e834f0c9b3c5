/* usdt N: USDT probes. osmia_test:request has four arguments and is skipped unless its semaphore is up;
 * osmia_test:idle has no arguments and is always passed. */
#define _SDT_HAS_SEMAPHORES 1
#include <stdint.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include "gate.h"

/* Counted up by the kernel while somebody traces the probe. */
volatile unsigned short osmia_test_request_semaphore __attribute__((section(".probes")));
volatile unsigned short osmia_test_idle_semaphore __attribute__((section(".probes")));

int serve(int i)
{
	int64_t bytes = -(int64_t)i;
	const char *path = i % 2 ? "/odd" : "/even";
	uint8_t kind = (uint8_t)(i % 4);

	if (osmia_test_request_semaphore)
		DTRACE_PROBE4(osmia_test, request, i, bytes, path, kind);
	return i % 2;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1;
	int odd = 0, enabled = 0;

	gate();
	for (int i = 0; i < n; i++) {
		enabled += osmia_test_request_semaphore != 0;
		odd += serve(i);
		DTRACE_PROBE(osmia_test, idle);
	}
	printf("{\"calls\": %d, \"odd\": %d, \"enabled\": %d, \"idle\": %d}\n", n, odd, enabled, n);
	return 0;
}
