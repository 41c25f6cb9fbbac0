// histogram: reads numbers from standard input, prints how they are distributed.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tidewater.h"

namespace {

struct Options {
    std::size_t bins = 10;
    std::size_t width = 60;
    std::optional<double> low, high;
    bool logarithmic = false;
};

class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

constexpr std::string_view usage =
    "usage: histogram [--bins N] [--width N] [--low X] [--high X] [--log]\n";

Options parse(const std::vector<std::string>& arguments) {
    Options options;
    for (auto it = arguments.begin(); it != arguments.end(); ++it) {
        auto value = [&]() -> const std::string& {
            if (std::next(it) == arguments.end()) throw UsageError(*it + " needs a value");
            return *++it;
        };
        if (*it == "--bins") options.bins = std::stoul(value());
        else if (*it == "--width") options.width = std::stoul(value());
        else if (*it == "--low") options.low = std::stod(value());
        else if (*it == "--high") options.high = std::stod(value());
        else if (*it == "--log") options.logarithmic = true;
        else if (*it == "--help") { std::cout << usage; std::exit(EXIT_SUCCESS); }
        else throw UsageError("unknown option " + *it);
    }
    if (options.bins == 0) throw UsageError("--bins must be at least 1");
    return options;
}

template <typename Number>
class Histogram {
public:
    Histogram(Number low, Number high, std::size_t bins) : low_(low), high_(high), counts_(bins) {}

    void add(Number value) {
        if (value < low_ || value > high_) { ++outside_; return; }
        auto position = (value - low_) / (high_ - low_) * static_cast<Number>(counts_.size());
        ++counts_[std::min(counts_.size() - 1, static_cast<std::size_t>(position))];
    }

    void print(std::ostream& out, std::size_t width) const {
        const auto most = *std::max_element(counts_.begin(), counts_.end());
        const auto step = (high_ - low_) / static_cast<Number>(counts_.size());
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            const auto bar = most == 0 ? 0 : counts_[i] * width / most;
            out << std::setw(12) << std::setprecision(5) << low_ + step * static_cast<Number>(i) << ' '
                << std::setw(8) << counts_[i] << ' ' << std::string(bar, '#') << '\n';
        }
        if (outside_ != 0) out << outside_ << " outside\n";
    }

private:
    Number low_, high_;
    std::vector<std::size_t> counts_;
    std::size_t outside_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    try {
        const auto options = parse({argv + 1, argv + argc});
        std::vector<double> values{std::istream_iterator<double>(std::cin), {}};
        if (!std::cin.eof()) tw_log(TW_WARNING, "stopped at something that is no number");
        if (options.logarithmic)
            std::transform(values.begin(), values.end(), values.begin(), [](double v) { return std::log10(v); });
        if (values.empty()) { tw_log(TW_ERROR, "no numbers"); return EXIT_FAILURE; }
        const auto [least, most] = std::minmax_element(values.begin(), values.end());
        Histogram<double> histogram(options.low.value_or(*least), options.high.value_or(*most), options.bins);
        for (double value : values) histogram.add(value);
        histogram.print(std::cout, options.width);
        const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
        std::cout << values.size() << " values, mean " << mean << '\n';
        return EXIT_SUCCESS;
    } catch (const UsageError& error) {
        tw_log(TW_ERROR, "%s", error.what());
        std::cerr << usage;
        return 2;
    }
}
