class Pool {
  final idle = <Socket>[];

  Socket acquire() {
    if (idle.isEmpty) {
      return open();
    }
    return idle.removeLast();
  }

  void release(Socket socket) {
    idle.add(socket);
  }
}

void main() {
  final pool = Pool();
  print(pool.acquire());
}
