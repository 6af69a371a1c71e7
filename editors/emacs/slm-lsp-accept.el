;;; slm-lsp-accept.el --- Take, change or dismiss a suggestion of slm-lsp  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns the commands that act on the ghost text, and their keys.
;;
;; Invariant: a suggestion goes into the buffer only by a command, as one step
;; of `undo'; the keys are on only while a suggestion is shown.

;;; Code:

(require 'seq)
(require 'slm-lsp-server)
(require 'slm-lsp-document)
(require 'slm-lsp-ghost)

(defvar slm-lsp-ghost-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "TAB") #'slm-lsp-accept)
    (define-key map (kbd "<tab>") #'slm-lsp-accept)
    (define-key map (kbd "M-f") #'slm-lsp-accept-word)
    (define-key map (kbd "M-<right>") #'slm-lsp-accept-word)
    (define-key map (kbd "C-e") #'slm-lsp-accept-line)
    (define-key map (kbd "M-n") #'slm-lsp-next)
    (define-key map (kbd "M-p") #'slm-lsp-previous)
    (define-key map (kbd "C-g") #'slm-lsp-dismiss)
    map)
  "Keys that are on while a suggestion is shown, and only then.")

(defvar slm-lsp--map-alist (list (cons 'slm-lsp--ghost-shown slm-lsp-ghost-map)))

;; Above other minor modes' keys, of which some take TAB always.
(add-to-list 'emulation-mode-map-alists 'slm-lsp--map-alist)

(defun slm-lsp-complete ()
  "Ask for a suggestion here: it may take longer, and there are several."
  (interactive)
  (unless slm-lsp--uri
    (user-error "Turn on `slm-lsp-mode' first"))
  (unless (slm-lsp--ready-p)
    (user-error "No server of slm-lsp: %s" (plist-get slm-lsp--status :message)))
  (slm-lsp--ask t))

(defun slm-lsp-accept ()
  "Insert the suggestion."
  (interactive "*")
  (slm-lsp--accept #'length))

(defun slm-lsp-accept-word ()
  "Insert the suggestion's next word."
  (interactive "*")
  (slm-lsp--accept
   (lambda (rest)
     (string-match "\\`[ \t\n]*\\(?:[[:alnum:]_]+\\|[^[:alnum:]_ \t\n]+\\|\\'\\)" rest)
     (match-end 0))))

(defun slm-lsp-accept-line ()
  "Insert the suggestion up to the end of its next line with text."
  (interactive "*")
  (slm-lsp--accept
   (lambda (rest)
     (string-match "\\`[ \t\n]*[^\n]*" rest)
     (match-end 0))))

(defun slm-lsp--accept (measure)
  "Insert the beginning of the suggestion.
MEASURE is called with what is left of it, and returns how many
characters to take."
  (let* ((item (or (slm-lsp--current) (user-error "No suggestion is shown")))
         (rest (slm-lsp--rest item)))
    (if (not rest)
        (slm-lsp--hide)
      (let ((n-taken (funcall measure rest)))
        (if (< n-taken (length rest))
            (slm-lsp--accept-part item (substring rest 0 n-taken))
          (slm-lsp--accept-all item rest))))))

(defun slm-lsp--accept-all (item rest)
  "Insert REST, which is left of ITEM, and tell the server."
  (let ((end (slm-lsp--item-end item))
        (command (plist-get (slm-lsp--item-raw item) :command)))
    (slm-lsp--hide)
    (save-restriction
      (widen)
      (delete-region (point) end)
      (insert rest))
    (when (slm-lsp--ready-p)
      (slm-lsp--flush)
      (if command
          (slm-lsp--command (plist-get command :command) (plist-get command :arguments)
                            #'ignore #'ignore)
        (slm-lsp--notify :slm-lsp/didAcceptCompletion (make-hash-table))))))

(defun slm-lsp--accept-part (item part)
  "Insert PART of ITEM, show the rest, and tell the server."
  (insert part)
  (slm-lsp--refresh)
  (slm-lsp--flush)
  (slm-lsp--notify
   :textDocument/didPartiallyAcceptCompletion
   (list :item (slm-lsp--item-raw item)
         :acceptedLength (slm-lsp--units (substring (slm-lsp--item-text item)
                                                    0 (slm-lsp--typed item))))))

(defun slm-lsp-dismiss ()
  "Remove the suggestion."
  (interactive)
  (let ((item (slm-lsp--current)))
    (slm-lsp--give-up)
    (slm-lsp--hide)
    (when item
      (slm-lsp--notify :slm-lsp/didRejectCompletion (list :item (slm-lsp--item-raw item))))))

(defun slm-lsp-next (&optional n)
  "Show the next suggestion, or the Nth next."
  (interactive "p")
  (let ((n (or n 1)))
    (cond ((not (slm-lsp--current)) (user-error "No suggestion is shown"))
          ((or slm-lsp--asked (cdr slm-lsp--items)) (slm-lsp--turn n))
          ((slm-lsp--ready-p) (slm-lsp--ask t (lambda (items) (slm-lsp--more items n)))))))

(defun slm-lsp-previous (&optional n)
  "Show the previous suggestion, or the Nth previous."
  (interactive "p")
  (slm-lsp-next (- (or n 1))))

(defun slm-lsp--turn (n)
  "Show the Nth next of the suggestions that fit."
  (let* ((current (slm-lsp--current))
         (fitting (seq-filter #'slm-lsp--rest slm-lsp--items)))
    (if (cdr fitting)
        (slm-lsp--show fitting
                       (mod (+ n (seq-position fitting current #'eq)) (length fitting))
                       slm-lsp--asked)
      (message "slm-lsp: no other suggestion"))))

(defun slm-lsp--more (items n)
  "Put ITEMS behind the suggestion that is shown, and show the Nth next."
  (let* ((current (slm-lsp--current))
         (shown (and current (slm-lsp--rest current))))
    (when shown
      (setq slm-lsp--items
            (cons current (seq-remove (lambda (item) (string= shown (slm-lsp--rest item))) items))
            slm-lsp--index 0
            slm-lsp--asked t)
      (slm-lsp--turn n))))

(provide 'slm-lsp-accept)
;;; slm-lsp-accept.el ends here
