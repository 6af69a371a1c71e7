;;; slm-lsp-tests.el --- Laws of slm-lsp's client that need no server  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Run by tests/editors/test_emacs.py in a batch Emacs.

;;; Code:

(require 'ert)
(require 'slm-lsp)

(defun slm-lsp-tests--units (text)
  "Return the UTF-16 units of TEXT, in which nothing ends a line but newlines."
  (apply #'append
         (mapcar (lambda (char)
                   (cond ((or (= char ?\r) (> char #x10ffff) (<= #xd800 char #xdfff))
                          (error "The server was sent %x" char))
                         ((> char #xffff) (list (+ #xd800 (ash (- char #x10000) -10))
                                                (+ #xdc00 (logand char #x3ff))))
                         (t (list char))))
                 text)))

(defun slm-lsp-tests--expected ()
  "Return the units that the server is to have of the buffer."
  (slm-lsp-tests--units
   (mapcar (lambda (char)
             (cond ((= char ?\r) ?\s)
                   ((or (> char #x10ffff) (<= #xd800 char #xdfff)) #xfffd)
                   (t char)))
           (buffer-string))))

(defun slm-lsp-tests--offset (units position)
  "Return where in UNITS the LSP POSITION is."
  (let ((offset 0))
    (dotimes (_ (plist-get position :line))
      (setq offset (1+ (+ offset (cl-position ?\n (nthcdr offset units))))))
    (+ offset (plist-get position :character))))

(defun slm-lsp-tests--apply (units change)
  "Return what UNITS are after CHANGE."
  (let ((range (plist-get change :range))
        (new (slm-lsp-tests--units (plist-get change :text))))
    (if (not range)
        new
      (append (seq-take units (slm-lsp-tests--offset units (plist-get range :start)))
              new
              (nthcdr (slm-lsp-tests--offset units (plist-get range :end)) units)))))

(defun slm-lsp-tests--edit ()
  "Change the buffer somehow, as a user or a program would."
  (goto-char (1+ (random (point-max))))
  (pcase (random 8)
    ((or 0 1 2) (insert (seq-random-elt '("a" "\n" "😀" "é" "b😀\nc" "\r\n" "\r" "\3777" "\t"))))
    (3 (delete-region (point) (min (point-max) (+ (point) (random 5)))))
    (4 (upcase-word 1))
    (5 (ignore-errors (transpose-chars nil)))
    (6 (subst-char-in-region (point) (point-max) ?a ?x))
    (7 (save-restriction
         (narrow-to-region (point) (point-max))
         (insert "n\n😀")))))

(ert-deftest slm-lsp-tests-server-has-the-buffers-text ()
  (random "slm-lsp")
  (let ((n-incremental 0))
    (dotimes (_ 150)
      (setq n-incremental (+ n-incremental (slm-lsp-tests--round))))
    (should (> n-incremental 500))))

(defun slm-lsp-tests--round ()
  "Change a buffer, hold the server's text against it, and return how many parts were sent."
  (let ((units nil) (n-incremental 0))
    (cl-letf (((symbol-function 'slm-lsp--notify)
               (lambda (method params)
                 (when (eq method :textDocument/didChange)
                   (mapc (lambda (change)
                           (when (plist-get change :range) (cl-incf n-incremental))
                           (setq units (slm-lsp-tests--apply units change)))
                         (plist-get params :contentChanges))))))
      (with-temp-buffer
        (set-buffer-multibyte t)
        (insert "def f():\n    return '😀'\n")
        (setq units (slm-lsp-tests--expected) slm-lsp--uri "file:///a")
        (add-hook 'before-change-functions #'slm-lsp--before-change nil t)
        (add-hook 'after-change-functions #'slm-lsp--after-change nil t)
        (dotimes (_ 12)
          (slm-lsp-tests--edit)
          (when (zerop (random 3)) (slm-lsp--flush)))
        (slm-lsp--flush)
        (should (equal units (slm-lsp-tests--expected)))
        (dotimes (index (point-max))
          (should (= (1+ index) (slm-lsp--pos (slm-lsp--position (1+ index))))))))
    n-incremental))

(ert-deftest slm-lsp-tests-unusual-changes-send-the-whole-text ()
  (let (sent)
    (cl-letf (((symbol-function 'slm-lsp--notify) (lambda (_method params) (push params sent))))
      (with-temp-buffer
        (insert "abc")
        (setq slm-lsp--uri "file:///a")
        (slm-lsp--before-change 1 4)
        (slm-lsp--after-change 2 3 1)
        (slm-lsp--flush)
        (should (equal (plist-get (car sent) :contentChanges) [(:text "abc")]))))))

(ert-deftest slm-lsp-tests-languages ()
  (dolist (case '((python-mode . "python") (c++-mode . "cpp") (python-ts-mode . "python")
                  (sh-mode . "shellscript") (js-mode . "javascript") (rust-ts-mode . "rust")))
    (let ((major-mode (car case)))
      (should (equal (slm-lsp--language-id) (cdr case))))))

(ert-deftest slm-lsp-tests-an-item-replaces-its-range ()
  (with-temp-buffer
    (insert "print(x)")
    (goto-char 8)
    (let* ((raw '(:insertText "x, y)" :range (:start (:line 0 :character 6)
                                                     :end (:line 0 :character 8))))
           (item (slm-lsp--take-item raw)))
      (should (equal (slm-lsp--rest item) ", y)"))
      (insert ",")
      (should (equal (slm-lsp--rest item) " y)"))
      (setq slm-lsp--items (list item) slm-lsp--ghost-shown t)
      (slm-lsp-accept)
      (should (equal (buffer-string) "print(x, y)")))
    (should-not (slm-lsp--take-item '(:insertText "other" :range (:start (:line 0 :character 0)
                                                                         :end (:line 0 :character 11)))))
    (should-not (slm-lsp--take-item '(:insertText "")))))

(ert-deftest slm-lsp-tests-outdated-requests ()
  (let (sent shown)
    (cl-letf (((symbol-function 'slm-lsp--notify) (lambda (method params) (push (cons method params) sent))))
      (save-window-excursion
        (with-temp-buffer
          (switch-to-buffer (current-buffer))
          (insert "ab")
          (cl-flet ((ask () (setq slm-lsp--pending
                                  (list 7 (buffer-chars-modified-tick) (point))))
                    (answer (asked) (slm-lsp--answered (current-buffer) asked
                                                       (lambda () (setq shown t)))))
            (answer (ask))
            (should shown)
            (setq shown nil)
            ;; Not cancelled yet, but point or text is another.
            (let ((asked (ask))) (backward-char) (answer asked))
            (let ((asked (ask))) (delete-char 1) (insert "b") (backward-char) (answer asked))
            (should-not shown)
            (should-not slm-lsp--pending)
            ;; Cancelled, and answered all the same.
            (let ((asked (ask)))
              (backward-char)
              (slm-lsp--after-command)
              (forward-char)
              (answer asked))
            (should-not shown)
            (should (member '(:$/cancelRequest :id 7) sent))))))))

(provide 'slm-lsp-tests)
;;; slm-lsp-tests.el ends here
