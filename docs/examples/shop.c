// What the tutorial traces: a shop that sells three things.
#include <stdio.h>
#include <sys/sdt.h>
#include <unistd.h>

struct order {
  int id;
  int pieces;
  const char *item;
};

__attribute__((noinline)) int sell(struct order *order, int price) {
  usleep(order->pieces * 20000); // packing takes its time
  DTRACE_PROBE2(shop, sold, order->item, order->pieces * price);
  return order->pieces * price;
}

int main(void) {
  struct order orders[] = {{1, 1, "honey"}, {2, 2, "wax"}, {3, 4, "honey"}};
  int total = 0;

  printf("open: %s, %s\n", orders[0].item, orders[1].item);
  for (int i = 0; i < 3; i++)
    total += sell(&orders[i], 5);
  printf("sold for %d\n", total);
  return 0;
}
