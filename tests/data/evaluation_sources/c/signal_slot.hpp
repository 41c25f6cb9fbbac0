#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace harbour {

/// Disconnects when it goes out of scope.
class [[nodiscard]] Connection {
public:
    Connection() = default;
    explicit Connection(std::function<void()> disconnect) noexcept : disconnect_(std::move(disconnect)) {}
    Connection(Connection&& other) noexcept : disconnect_(std::exchange(other.disconnect_, nullptr)) {}
    Connection& operator=(Connection&& other) noexcept {
        if (this != &other) {
            reset();
            disconnect_ = std::exchange(other.disconnect_, nullptr);
        }
        return *this;
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { reset(); }

    void reset() {
        if (auto disconnect = std::exchange(disconnect_, nullptr)) disconnect();
    }
    [[nodiscard]] bool connected() const noexcept { return static_cast<bool>(disconnect_); }

private:
    std::function<void()> disconnect_;
};

template <typename... Arguments>
class Signal {
    using Slot = std::function<void(const Arguments&...)>;
    struct State {
        std::mutex mutex;
        std::vector<std::pair<unsigned long, Slot>> slots;
        unsigned long next = 0;
    };

public:
    template <typename Callable>
    Connection connect(Callable&& callable) {
        static_assert(std::is_invocable_v<Callable, const Arguments&...>, "slot does not take the signal's arguments");
        std::lock_guard lock{state_->mutex};
        const auto id = state_->next++;
        state_->slots.emplace_back(id, std::forward<Callable>(callable));
        return Connection{[weak = std::weak_ptr<State>(state_), id] {
            if (auto state = weak.lock()) {
                std::lock_guard guard{state->mutex};
                std::erase_if(state->slots, [id](const auto& entry) { return entry.first == id; });
            }
        }};
    }

    void operator()(const Arguments&... arguments) const {
        std::vector<Slot> called;
        {
            std::lock_guard lock{state_->mutex};
            called.reserve(state_->slots.size());
            for (const auto& [id, slot] : state_->slots) called.push_back(slot);
        }
        for (const auto& slot : called) slot(arguments...);
    }

private:
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace harbour
