/* calls N: functions with known arguments, return values and nesting, each called N times (i = 0 .. N-1). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "gate.h"

struct point {
	int x;
	int y;
};

struct order {
	uint64_t id;
	char customer[16];
	struct point place;
	uint32_t flags : 3;
	uint32_t priority : 5;
	const char *note;
};

uint64_t calls_made; /* a global variable, for uaddr */

int add(int a, int b)
{
	calls_made++;
	return a + b;
}

int64_t negative(int64_t value)
{
	return -value;
}

/* More arguments than there are registers for: the last two are on the stack. */
long eight(long a, long b, long c, long d, long e, long f, long g, long h)
{
	return a + b + c + d + e + f + g + h;
}

uint8_t narrow(uint8_t a, int8_t b, uint16_t c, int16_t d)
{
	return (uint8_t)(a + b + c + d);
}

const char *greet(const char *name)
{
	static char text[64];

	snprintf(text, sizeof(text), "hello %s", name);
	return text;
}

int take_order(struct order *order)
{
	return (int)order->id + order->place.x + order->place.y;
}

int take_point(struct point point)
{
	return point.x * point.y;
}

int inner(int i)
{
	return i + 1;
}

int middle(int i)
{
	return inner(i) * 2;
}

int outer(int i)
{
	return middle(i) + middle(i + 1);
}

int fibonacci(int n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static int hidden(int i)
{
	return i ^ 1;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1;
	long sum_add = 0, sum_eight = 0, sum_narrow = 0, sum_order = 0, sum_point = 0, sum_outer = 0, sum_hidden = 0;
	long sum_negative = 0;

	gate();
	for (int i = 0; i < n; i++) {
		char name[16];
		struct order order = { .id = i, .place = { i, 2 * i }, .flags = i & 7, .priority = 9, .note = "urgent" };
		struct point point = { i, 3 };

		snprintf(name, sizeof(name), "bee-%d", i % 3);
		strcpy(order.customer, name);
		sum_add += add(i, 10);
		sum_negative += negative(i);
		sum_eight += eight(1, 2, 3, 4, 5, 6, 7, i);
		sum_narrow += narrow(i, -1, i, -2);
		greet(name);
		sum_order += take_order(&order);
		sum_point += take_point(point);
		sum_outer += outer(i);
		sum_hidden += hidden(i);
	}
	printf("{\"calls\": %d, \"inner\": %d, \"middle\": %d, \"add\": %ld, \"negative\": %ld, \"eight\": %ld, "
	       "\"narrow\": %ld, \"take_order\": %ld, \"take_point\": %ld, \"outer\": %ld, \"hidden\": %ld, "
	       "\"fibonacci\": %d, \"calls_made\": %lu}\n",
	       n, 2 * n, 2 * n, sum_add, sum_negative, sum_eight, sum_narrow, sum_order, sum_point, sum_outer,
	       sum_hidden, fibonacci(10), (unsigned long)calls_made);
	return 0;
}
