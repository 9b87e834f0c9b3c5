// shop N: C++ functions with mangled names: a namespace, overloads, a template, methods. Each is called N times.
#include <cstdlib>
#include <string>
#include "gate.h"

namespace shop {

struct Item {
	int price;
	const char *name;
};

class Basket {
	int total_ = 0;

public:
	int add(int price);
	int add(const Item &item, int count);
	int total() const { return total_; }
};

int Basket::add(int price)
{
	return total_ += price;
}

int Basket::add(const Item &item, int count)
{
	return total_ += item.price * count;
}

template <typename T> T largest(T a, T b)
{
	return a > b ? a : b;
}

} // namespace shop

int main(int argc, char **argv)
{
	int n = argc > 1 ? std::atoi(argv[1]) : 1;
	long largest = 0;
	shop::Basket basket;

	gate();
	for (int i = 0; i < n; i++) {
		basket.add(i);
		basket.add(shop::Item{2, "honey"}, i);
		largest += shop::largest<long>(i, 5);
	}
	std::printf("{\"calls\": %d, \"total\": %d, \"largest\": %ld}\n", n, basket.total(), largest);
	return 0;
}
