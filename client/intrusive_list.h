// A doubly linked list through its elements: moving an operation from one
// queue to another allocates nothing and takes constant time.
//
// An element derives from ListNode<Tag> once per kind of list it can be in,
// and is in at most one list per tag at a time.
//
// Thread-safety: none. Ownership: the list owns nothing; an element must leave
// its list before it is destroyed, and a list must be empty when it is.
#ifndef WHALE_CLIENT_INTRUSIVE_LIST_H_
#define WHALE_CLIENT_INTRUSIVE_LIST_H_

#include "common/check.h"

namespace whale::client {

template <typename Tag>
struct ListNode {
  ListNode* previous = nullptr;
  ListNode* next = nullptr;
  bool linked() const { return next != nullptr; }
};

template <typename T, typename Tag>
class IntrusiveList {
 public:
  using Node = ListNode<Tag>;

  IntrusiveList() { head_.previous = head_.next = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next == &head_; }
  // nullptr when empty.
  T* front() const { return ToElement(head_.next); }
  T* back() const { return ToElement(head_.previous); }
  // nullptr at the end.
  T* Next(const T* element) const {
    return ToElement(static_cast<const Node*>(element)->next);
  }
  T* Previous(const T* element) const {
    return ToElement(static_cast<const Node*>(element)->previous);
  }

  void PushBack(T* element) { InsertAfter(back(), element); }
  // Behind `position`; nullptr: at the front.
  void InsertAfter(T* position, T* element) {
    Node* node = element;
    Node* before = position == nullptr ? &head_ : static_cast<Node*>(position);
    WHALE_DCHECK(!node->linked());
    node->previous = before;
    node->next = before->next;
    before->next->previous = node;
    before->next = node;
  }
  T* PopFront() {
    T* element = front();
    if (element != nullptr) Remove(element);
    return element;
  }
  // Takes an element out of whatever list of this tag it is in.
  static void Remove(T* element) {
    Node* node = element;
    WHALE_DCHECK(node->linked());
    node->previous->next = node->next;
    node->next->previous = node->previous;
    node->previous = node->next = nullptr;
  }
  // Appends all of `other`, which is empty afterwards.
  void TakeAll(IntrusiveList& other) {
    while (T* element = other.PopFront()) PushBack(element);
  }

 private:
  T* ToElement(Node* node) const {
    return node == &head_ ? nullptr : static_cast<T*>(node);
  }

  mutable Node head_;
};

}  // namespace whale::client

#endif  // WHALE_CLIENT_INTRUSIVE_LIST_H_
