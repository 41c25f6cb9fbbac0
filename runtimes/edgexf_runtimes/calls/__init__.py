"""A call of a session: how long it may take, who may end it, and what is known about its runs.

    cancel      a token that ends calls from another thread
    clock       ends calls at their deadlines, in one thread for the process
    call        one call, and the calls in flight of a session
    background  calls from coroutines, in threads that the session owns
    forking     a forked child gets fresh sessions
    runs        what a service is told about each run

A public method of a session enters a `Call`. Everything that the method does, opening graphs and running them, asks the
call whether it may go on, and gives the call a way to stop what can be stopped. `close` waits for the calls in flight.
"""
